import com.pgvector.PGvector;
import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/**
 * pgjdbc with pgvector-java: what an everyday program does, and what tools ask about the catalog; prints what it reads.
 *
 * usage: java -cp JARS PgjdbcClient.java JDBC-URL      its output on PostgreSQL is in recorded/
 */
public class PgjdbcClient {
    static final String[] METRICS = {"<->", "<#>", "<=>", "<+>"};
    static final String[] TYPES = {
        "1::int2", "2::int4", "3::int8", "1.5::float4", "2.5::float8", "12.50::numeric(6,2)", "'é'::text", "'v'::varchar(3)", "true",
        "'2026-01-02'::date", "'03:04:05'::time", "'2026-01-02 03:04:05.678'::timestamp", "'2026-01-02 03:04:05+00'::timestamptz",
        "'1 day 02:00:00'::interval", "'6ecd8c99-4036-403d-bf84-cf8400f67836'::uuid", "'\\x00ff'::bytea", "'{\"a\": [1, null]}'::json",
        "'{\"b\": 1, \"a\": [1, null]}'::jsonb", "ARRAY[1,NULL,3]", "ARRAY['x','y z']", "NULL::int4",
        "ARRAY[1.50,NULL]::numeric[]", "ARRAY['2026-01-02']::date[]", "ARRAY[true,NULL]", "'{}'::float8[]", "'ab'::char(3)",
    };

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("SET client_min_messages = warning");
                statement.execute("CREATE EXTENSION IF NOT EXISTS vector");
                PGvector.addVectorType(connection);
                statement.execute("DROP TABLE IF EXISTS items5");
                statement.execute("CREATE TABLE items5 (id bigserial PRIMARY KEY, name text NOT NULL, price float8, embedding vector(3), code varchar(8) DEFAULT 'none')");
            }
            inserts(connection);
            copies(connection);
            search(connection);
            transactions(connection);
            errors(connection);
            types(connection);
            kinds(connection);
            metadata(connection.getMetaData());
        }
    }

    static PGvector vector(float... numbers) {
        return new PGvector(numbers);
    }

    static void inserts(Connection connection) throws SQLException {
        String sql = "INSERT INTO items5 (name, price, embedding) VALUES (?, ?, ?)";
        try (PreparedStatement insert = connection.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
            // More than pgjdbc's prepareThreshold, so that named statements and binary results are used too.
            for (int number = 0; number < 8; number++) {
                insert.setString(1, "n" + number);
                insert.setDouble(2, number / 2.0);
                insert.setObject(3, vector(number, 1, -number));
                insert.executeUpdate();
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    keys.next();
                    System.out.println("inserted " + keys.getLong(1));
                }
            }
        }
        try (PreparedStatement insert = connection.prepareStatement(sql)) {
            for (int number = 0; number < 4; number++) {
                insert.setString(1, "b" + number);
                insert.setObject(2, null);
                insert.setObject(3, vector(number, 0, 1));
                insert.addBatch();
            }
            System.out.println("batch " + Arrays.toString(insert.executeBatch()));
        }
    }

    static void copies(Connection connection) throws Exception {
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        System.out.println("copied " + copy.copyIn("COPY items5 (name, embedding) FROM STDIN", new StringReader("c1\t[1,2,3]\nc2\t\\N\n")));
        byte[] csv = "name,price\nc3,1.25\n".getBytes(StandardCharsets.UTF_8);
        System.out.println("copied " + copy.copyIn("COPY items5 (name, price) FROM STDIN WITH (FORMAT csv, HEADER)", new ByteArrayInputStream(csv)));
        StringWriter out = new StringWriter();
        copy.copyOut("COPY (SELECT name, price, embedding FROM items5 WHERE id > 12 ORDER BY id) TO STDOUT", out);
        System.out.println("out " + Arrays.toString(out.toString().split("\n")));
    }

    static void search(Connection connection) throws SQLException {
        for (String metric : METRICS) {
            String sql = "SELECT id, name, embedding, embedding " + metric + " ? AS d FROM items5 WHERE id <= 6 ORDER BY d, id LIMIT 3";
            try (PreparedStatement query = connection.prepareStatement(sql)) {
                query.setObject(1, vector(2, 1, -1));
                try (ResultSet rows = query.executeQuery()) {
                    while (rows.next()) {
                        String distance = String.format(Locale.ROOT, "%.6f", rows.getDouble("d"));
                        System.out.println(metric + " " + rows.getLong(1) + " " + rows.getString(2) + " " + Arrays.toString(((PGvector) rows.getObject(3)).toArray()) + " " + distance);
                    }
                }
            }
        }
        String sql = "SELECT id FROM items5 WHERE price >= ? AND id = ANY(?) ORDER BY embedding <-> ?, id LIMIT ?";
        try (PreparedStatement query = connection.prepareStatement(sql)) {
            for (int limit = 1; limit <= 7; limit++) {
                query.setDouble(1, 0.5);
                query.setArray(2, connection.createArrayOf("int8", new Long[] {1L, 2L, 3L, 4L}));
                query.setObject(3, vector(2, 1, -1));
                query.setInt(4, limit);
                System.out.println("filtered " + rows(query.executeQuery()));
            }
        }
    }

    static List<List<String>> rows(ResultSet rows) throws SQLException {
        List<List<String>> all = new ArrayList<>();
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            List<String> row = new ArrayList<>();
            for (int column = 1; column <= columns; column++) {
                row.add(rows.getObject(column) instanceof byte[] bytes ? Arrays.toString(bytes) : rows.getString(column));
            }
            all.add(row);
        }
        rows.close();
        return all;
    }

    static void transactions(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            System.out.println("deleted " + statement.executeUpdate("DELETE FROM items5 WHERE id > 1"));
            connection.rollback();
            System.out.println("after rollback " + rows(statement.executeQuery("SELECT count(*) FROM items5")));
            statement.setFetchSize(2);
            System.out.println("fetched in parts " + rows(statement.executeQuery("SELECT id FROM items5 ORDER BY id")));
            connection.commit();
            connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            System.out.println("isolation " + rows(statement.executeQuery("SHOW transaction_isolation")));
            connection.commit();
            connection.setReadOnly(true);
            System.out.println("read only " + rows(statement.executeQuery("SELECT 1")));
            connection.commit();
            connection.setReadOnly(false);
        }
        connection.setAutoCommit(true);
    }

    static void errors(Connection connection) {
        String[] wrong = {
            "INSERT INTO items5 (id, name) VALUES (1, 'x')", "INSERT INTO items5 (name) VALUES (NULL)", "SELECT nosuch FROM items5",
            "SELECT '[1,2]'::vector(3)", "SELECT 1/0", "SELEC",
        };
        for (String sql : wrong) {
            try (Statement statement = connection.createStatement()) {
                statement.execute(sql);
            } catch (SQLException error) {
                System.out.println("error " + error.getSQLState() + " " + error.getMessage().replace("\n", " | "));
            }
        }
    }

    static void types(Connection connection) throws SQLException {
        for (String expression : TYPES) {
            try (PreparedStatement statement = connection.prepareStatement("SELECT " + expression)) {
                for (int run = 0; run < 6; run++) {
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        if (run == 0 || run == 5) {
                            ResultSetMetaData columns = rows.getMetaData();
                            Object value = rows.getObject(1);
                            String form = value instanceof Array ? Arrays.toString((Object[]) ((Array) value).getArray()) : value instanceof byte[] ? Arrays.toString((byte[]) value) : String.valueOf(value);
                            String text = value instanceof byte[] ? "" : " " + rows.getString(1);
                            System.out.println("type " + expression + " " + columns.getColumnTypeName(1) + " " + columns.getColumnType(1) + " " + columns.getPrecision(1) + " " + form + text);
                        }
                    }
                }
            }
        }
    }

    static void kinds(Connection connection) throws SQLException {
        String[] columns = {"int2", "int4", "int8", "float4", "float8", "numeric", "numeric(10,2)", "text", "varchar(5)", "char(3)", "bool", "date", "time",
            "timestamp", "timestamptz", "uuid", "bytea", "int4[]", "text[]", "numeric[]", "bool[]"};
        StringBuilder create = new StringBuilder("CREATE TABLE kinds5 (id int PRIMARY KEY");
        StringBuilder insert = new StringBuilder("INSERT INTO kinds5 VALUES (?");
        for (int at = 0; at < columns.length; at++) {
            create.append(", c").append(at).append(' ').append(columns[at]);
            insert.append(", ?");
        }
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS kinds5");
            statement.execute(create.append(", CONSTRAINT small CHECK (c0 < 100 AND c7 LIKE '%é%'))").toString());
            statement.execute("COMMENT ON TABLE kinds5 IS 'one of each'");
            statement.execute("COMMENT ON COLUMN kinds5.c0 IS 'the smallest'");
            statement.execute("CREATE INDEX nearest5 ON items5 USING hnsw (embedding vector_l2_ops)");
        }
        try (PreparedStatement row = connection.prepareStatement(insert.append(')').toString())) {
            for (int number = 1; number <= 7; number++) {
                Object[] values = {number, (short) -1, 2, 1L << 40, 1.5f, -2.5, new java.math.BigDecimal("12.500"), new java.math.BigDecimal("99.9"), "é'\"", "v", "ab", true,
                    java.time.LocalDate.of(2026, 1, 2), java.time.LocalTime.of(3, 4, 5), java.time.LocalDateTime.of(2026, 1, 2, 3, 4, 5, 678000000),
                    java.time.OffsetDateTime.of(2026, 1, 2, 3, 4, 5, 0, java.time.ZoneOffset.UTC), java.util.UUID.fromString("6ecd8c99-4036-403d-bf84-cf8400f67836"),
                    new byte[] {0, -1}, connection.createArrayOf("int4", new Integer[] {1, null, 3}), connection.createArrayOf("text", new String[] {"x", "y z", null}),
                    connection.createArrayOf("numeric", new java.math.BigDecimal[] {new java.math.BigDecimal("1.50")}), connection.createArrayOf("bool", new Boolean[] {true, null})};
                for (int at = 0; at < values.length; at++) {
                    row.setObject(at + 1, values[at]);
                }
                row.executeUpdate();
            }
        }
        try (PreparedStatement query = connection.prepareStatement("SELECT * FROM kinds5 WHERE id = ?")) {
            for (int number = 1; number <= 7; number++) {
                query.setInt(1, number);
                List<List<String>> found = rows(query.executeQuery());
                if (number == 1 || number == 7) {
                    System.out.println("stored " + found);
                }
            }
        }
    }

    static void show(String name, ResultSet rows, String... columns) throws SQLException {
        while (rows.next()) {
            StringBuilder line = new StringBuilder(name);
            for (String column : columns) {
                line.append(' ').append(column).append('=').append(rows.getString(column));
            }
            System.out.println(line);
        }
        rows.close();
    }

    static void metadata(DatabaseMetaData data) throws SQLException {
        System.out.println("product " + data.getDatabaseProductName() + " " + data.getDatabaseMajorVersion() + " " + data.getUserName());
        show("schema", data.getSchemas(), "TABLE_SCHEM", "TABLE_CATALOG");
        show("catalog", data.getCatalogs(), "TABLE_CAT");
        show("kind", data.getTableTypes(), "TABLE_TYPE");
        show("table", data.getTables(null, "public", "items5%", new String[] {"TABLE", "VIEW", "INDEX", "SEQUENCE"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS");
        show("system", data.getTables(null, "pg_catalog", "pg_cl%", new String[] {"SYSTEM TABLE", "SYSTEM VIEW"}), "TABLE_NAME", "TABLE_TYPE");
        show("column", data.getColumns(null, "public", "items5", null), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE",
            "COLUMN_DEF", "CHAR_OCTET_LENGTH", "ORDINAL_POSITION", "IS_NULLABLE", "IS_AUTOINCREMENT", "IS_GENERATEDCOLUMN", "REMARKS");
        show("column", data.getColumns(null, "public", "kinds5", null), "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE",
            "COLUMN_DEF", "CHAR_OCTET_LENGTH", "ORDINAL_POSITION", "IS_NULLABLE", "REMARKS");
        show("table", data.getTables(null, null, "kinds5", null), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS");
        show("key", data.getPrimaryKeys(null, "public", "items5"), "TABLE_NAME", "COLUMN_NAME", "KEY_SEQ", "PK_NAME");
        show("index", data.getIndexInfo(null, "public", "items5", false, false), "INDEX_NAME", "NON_UNIQUE", "TYPE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC");
        show("best", data.getBestRowIdentifier(null, "public", "items5", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME", "TYPE_NAME");
        show("procedure", data.getProcedures(null, "public", "nosuch%"), "PROCEDURE_NAME");
        show("udt", data.getUDTs(null, "public", "%", null), "TYPE_NAME");
        show("column privilege", data.getColumnPrivileges(null, "public", "items5", "name"), "GRANTEE", "PRIVILEGE");
        show("client", data.getClientInfoProperties(), "NAME", "MAX_LEN", "DEFAULT_VALUE");
        System.out.println("limits " + data.getMaxColumnNameLength() + " " + data.getDefaultTransactionIsolation() + " " + data.supportsSavepoints() + " "
            + data.getNumericFunctions().length() + " " + data.getSQLKeywords().length());
        show("imported", data.getImportedKeys(null, "public", "items5"), "PKTABLE_NAME");
        show("exported", data.getExportedKeys(null, "public", "items5"), "PKTABLE_NAME");
        show("version", data.getVersionColumns(null, "public", "items5"), "COLUMN_NAME", "TYPE_NAME");
        show("privilege", data.getTablePrivileges(null, "public", "items5"), "GRANTEE", "PRIVILEGE");
        // Names that only vector has: the other types of the extension are not here.
        show("function", data.getFunctions(null, "public", "vector\\_a%"), "FUNCTION_NAME", "FUNCTION_TYPE");
        ResultSet types = data.getTypeInfo();
        List<String> known = List.of("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "date", "time", "timestamp", "timestamptz", "uuid", "bytea", "json", "jsonb", "vector");
        while (types.next()) {
            String name = types.getString("TYPE_NAME");
            if (known.contains(name)) {
                System.out.println("known type " + name + " " + types.getInt("DATA_TYPE") + " " + types.getInt("PRECISION") + " " + types.getInt("SEARCHABLE") + " " + types.getBoolean("AUTO_INCREMENT"));
            }
        }
        types.close();
    }
}
