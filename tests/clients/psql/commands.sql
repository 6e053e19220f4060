\d
\d customers
\d order_lines
\d documents
\d "Mixed Case"
\d customers_pkey
\d customers_id_seq
\d pg_catalog.pg_tables
\d nosuch
\d+ customers
\d+ documents
\d+ customers_pkey
\dt
\dt cust*
\dt pg_catalog.pg_c*
\dt nosuch
\di
\di customers_pkey
\ds
\dv
\dv pg_catalog.pg_stat_user*
\dm
\dE
\dn
\dn+
\du
\du elanus
\dg+
\l
\dT vector
\dT pg_catalog.int4
\dx
\df vector_norm
\df vector_a*
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
