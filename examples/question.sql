SELECT name, price, stock FROM products WHERE stock > 0
ORDER BY embedding <=> (SELECT embedding FROM product_questions WHERE question = 'sleeping on a plane')
LIMIT 5
