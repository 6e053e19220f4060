\d
\d customers
\d order_lines
\d documents
\d "Mixed Case"
\d kinds
\d passages
\d shop.items
\d customers_pkey
\d passages_nearest
\d passages_embedding_idx
\d tickets
\d order_lines_number_seq
\d customers_id_seq
\d pg_catalog.pg_tables
\d nosuch
\d+ customers
\d+ documents
\d+ customers_pkey
\d+ kinds
\d+ passages
\d+ passages_lists
\d+ tickets
\d+ order_lines
\d+ "Mixed Case"
\d shop.*
\dt
\dt *.*s
\dtis pass*
\dtS pg_ind*
\dt shop.*
\dt cust*
\dt pg_catalog.pg_c*
\dt nosuch
\di
\di+ nosuch
\di *_idx
\di customers_pkey
\ds
\dv
\dv pg_catalog.pg_stat_user*
\dm
\dE
\dn
\dn sh*
\dn+
\du
\du+
\dg
\du elanus
\dg+
\l
\l elanus
\dT vector
\dT+ vector
\dT pg_catalog.*time*
\dT pg_catalog.int4
\dx
\dx vector
\df vector_norm
\df vector_a*
\df+ vector_norm
\dAc hnsw vector
\dp
\dp customers
\ddp
\db
\dD
\dc
\dy
\dA
\drds
\dP
\dconfig enable_seqscan
\encoding
\sf nosuch
\dd
\dd kinds
\dO C
\dL
\dRp
\det
\z passages
\sv nosuch
\dconfig hnsw.*
\dl
SELECT count(*) AS "count", 'é' AS "ü" FROM customers \gx
SELECT name, count(*) FROM customers GROUP BY 1 ORDER BY 1 \gx
SELECT 1 AS a, 2 AS b \gset x_
\echo :x_a :x_b
SELECT id, exact, words, places, payload FROM kinds \gdesc
