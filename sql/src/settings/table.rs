//! The table of settings: every name Elanus knows, with PostgreSQL's or pgvector's type, default and range.
//!
//! A setting that is only accepted (no effect here) is in the table all the same, because clients set it.
//!
//! Invariant: names are unique whatever their case; every default is a valid value (a test walks the table).

use super::value::{Kind, Unit};

/// When a setting may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Never: it describes the server.
    Internal,
    /// At server start.
    Postmaster,
    /// In the server's configuration.
    Sighup,
    /// By any session.
    User,
}

impl Context {
    /// `pg_settings.context`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Postmaster => "postmaster",
            Self::Sighup => "sighup",
            Self::User => "user",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    /// The value a session starts with, in the canonical form of `kind`.
    pub default: &'static str,
    pub context: Context,
    /// Whether clients are told of changes (ParameterStatus).
    pub reported: bool,
    /// Whether the default is the only value whose meaning exists here; another one is refused (0A000) rather
    /// than accepted and ignored.
    pub only_default: bool,
    pub category: &'static str,
    pub description: &'static str,
}

const CLIENT: &str = "Client Connection Defaults / Statement Behavior";
const LOCALE: &str = "Client Connection Defaults / Locale and Formatting";
const PLANNER: &str = "Query Tuning / Planner Method Configuration";
const COSTS: &str = "Query Tuning / Planner Cost Constants";
const MEMORY: &str = "Resource Usage / Memory";
const WORKERS: &str = "Resource Usage / Asynchronous Behavior";
const PRESET: &str = "Preset Options";
const COMPATIBILITY: &str = "Version and Platform Compatibility / Previous PostgreSQL Versions";
const LOGGING: &str = "Reporting and Logging / What to Log";
const WAL: &str = "Write-Ahead Log / Settings";
const CONNECTION: &str = "Connections and Authentication / Connection Settings";
const CUSTOM: &str = "Customized Options";

const MAX: i64 = i32::MAX as i64;

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn real(min: f64, max: f64) -> Kind {
    Kind::Real { min, max }
}

/// Which settings there are; a builder keeps each to one line.
const fn user(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    category: &'static str,
    description: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        unit: Unit::None,
        default,
        context: Context::User,
        reported: false,
        only_default: false,
        category,
        description,
    }
}

const fn preset(name: &'static str, kind: Kind, default: &'static str, description: &'static str) -> Setting {
    Setting { context: Context::Internal, ..user(name, kind, default, PRESET, description) }
}

impl Setting {
    const fn reported(self) -> Self {
        Self { reported: true, ..self }
    }

    const fn only(self) -> Self {
        Self { only_default: true, ..self }
    }

    const fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    const fn context(self, context: Context) -> Self {
        Self { context, ..self }
    }
}

const LEVELS: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"];
const ISOLATION: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const CONSISTENCY: &[&str] = &["strong", "session", "bounded", "eventual"];

/// What `SHOW server_version` prints.
pub const SERVER_VERSION: &str = exec::functions::session::SERVER_VERSION;
/// What `SHOW server_version_num` prints.
pub const SERVER_VERSION_NUM: &str = "160014";

/// Keeps each setting to one line of the table.
macro_rules! settings {
    ($($setting:expr,)*) => {
        /// Every setting, in the order of their names.
        pub static SETTINGS: &[Setting] = &[$($setting,)*];
    };
}

settings! {
    user("application_name", Kind::Text, "", LOGGING, "Sets the application name to be reported in statistics and logs.").reported(),
    user("array_nulls", Kind::Bool, "on", COMPATIBILITY, "Enable input of NULL elements in arrays.").only(),
    preset("block_size", int(8192, 8192), "8192", "Shows the size of a disk block."),
    user("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", COMPATIBILITY, "Sets whether \"\\'\" is allowed in string literals."),
    user("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", CLIENT, "Sets the output format for bytea."),
    user("check_function_bodies", Kind::Bool, "on", CLIENT, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    user("client_connection_check_interval", int(0, MAX), "0", CONNECTION, "Sets the time interval between checks for disconnection while running queries.").unit(Unit::Milliseconds),
    user("client_encoding", Kind::Encoding, "UTF8", LOCALE, "Sets the client's character set encoding.").reported(),
    user("client_min_messages", Kind::Enum(LEVELS), "notice", CLIENT, "Sets the message levels that are sent to the client."),
    user("commit_delay", int(0, 100_000), "0", WAL, "Sets the delay in microseconds between transaction commit and flushing WAL to disk."),
    user("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", PLANNER, "Enables the planner to use constraints to optimize queries."),
    user("cpu_index_tuple_cost", real(0.0, f64::MAX), "0.005", COSTS, "Sets the planner's estimate of the cost of processing each index entry during an index scan."),
    user("cpu_operator_cost", real(0.0, f64::MAX), "0.0025", COSTS, "Sets the planner's estimate of the cost of processing each operator or function call."),
    user("cpu_tuple_cost", real(0.0, f64::MAX), "0.01", COSTS, "Sets the planner's estimate of the cost of processing each tuple (row)."),
    user("cursor_tuple_fraction", real(0.0, 1.0), "0.1", PLANNER, "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved."),
    user("DateStyle", Kind::DateStyle, "ISO, MDY", LOCALE, "Sets the display format for date and time values.").reported(),
    user("default_statistics_target", int(1, 10_000), "100", PLANNER, "Sets the default statistics target."),
    user("default_table_access_method", Kind::Text, "heap", CLIENT, "Sets the default table access method for new tables."),
    user("default_tablespace", Kind::Text, "", CLIENT, "Sets the default tablespace to create tables and indexes in."),
    user("default_text_search_config", Kind::Text, "pg_catalog.simple", LOCALE, "Sets default text search configuration."),
    user("default_transaction_deferrable", Kind::Bool, "off", CLIENT, "Sets the default deferrable status of new transactions."),
    user("default_transaction_isolation", Kind::Enum(ISOLATION), "read committed", CLIENT, "Sets the transaction isolation level of each new transaction."),
    user("default_transaction_read_only", Kind::Bool, "off", CLIENT, "Sets the default read-only status of new transactions.").reported(),
    user("effective_cache_size", int(1, MAX), "524288", COSTS, "Sets the planner's assumption about the total size of the data caches.").unit(Unit::Blocks),
    user("effective_io_concurrency", int(0, 1000), "1", WORKERS, "Number of simultaneous requests that can be handled efficiently by the disk subsystem."),
    user("elanus.consistency_level", Kind::Enum(CONSISTENCY), "strong", CUSTOM, "Sets what a read must see: strong, session, bounded or eventual."),
    user("elanus.guarantee_ts", int(0, i64::MAX), "0", CUSTOM, "Makes reads wait until everything committed at or before this timestamp is applied."),
    user("elanus.pgvector_limits", Kind::Bool, "on", CUSTOM, "Keeps pgvector's limits on dimensions of indexed columns."),
    user("elanus.read_time", Kind::Text, "", CUSTOM, "Shows the data as of this time; empty for now."),
    user("elanus.retention", int(0, MAX), "3600", CUSTOM, "Sets how long deleted and replaced rows can still be read.").unit(Unit::Seconds),
    user("elanus.staleness", int(0, MAX), "5000", CUSTOM, "Sets how old a bounded read may be.").unit(Unit::Milliseconds),
    user("elanus.target_recall", real(0.0, 1.0), "0.95", CUSTOM, "Sets the recall that automatic index parameters aim at."),
    user("enable_async_append", Kind::Bool, "on", PLANNER, "Enables the planner's use of async append plans."),
    user("enable_bitmapscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of bitmap-scan plans."),
    user("enable_gathermerge", Kind::Bool, "on", PLANNER, "Enables the planner's use of gather merge plans."),
    user("enable_hashagg", Kind::Bool, "on", PLANNER, "Enables the planner's use of hashed aggregation plans."),
    user("enable_hashjoin", Kind::Bool, "on", PLANNER, "Enables the planner's use of hash join plans."),
    user("enable_incremental_sort", Kind::Bool, "on", PLANNER, "Enables the planner's use of incremental sort steps."),
    user("enable_indexonlyscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of index-only-scan plans."),
    user("enable_indexscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of index-scan plans."),
    user("enable_material", Kind::Bool, "on", PLANNER, "Enables the planner's use of materialization."),
    user("enable_memoize", Kind::Bool, "on", PLANNER, "Enables the planner's use of memoization."),
    user("enable_mergejoin", Kind::Bool, "on", PLANNER, "Enables the planner's use of merge join plans."),
    user("enable_nestloop", Kind::Bool, "on", PLANNER, "Enables the planner's use of nested-loop join plans."),
    user("enable_parallel_append", Kind::Bool, "on", PLANNER, "Enables the planner's use of parallel append plans."),
    user("enable_parallel_hash", Kind::Bool, "on", PLANNER, "Enables the planner's use of parallel hash plans."),
    user("enable_partition_pruning", Kind::Bool, "on", PLANNER, "Enables plan-time and execution-time partition pruning."),
    user("enable_partitionwise_aggregate", Kind::Bool, "off", PLANNER, "Enables partitionwise aggregation and grouping."),
    user("enable_partitionwise_join", Kind::Bool, "off", PLANNER, "Enables partitionwise join."),
    user("enable_seqscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of sequential-scan plans."),
    user("enable_sort", Kind::Bool, "on", PLANNER, "Enables the planner's use of explicit sort steps."),
    user("enable_tidscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of TID scan plans."),
    user("escape_string_warning", Kind::Bool, "on", COMPATIBILITY, "Warn about backslash escapes in ordinary string literals."),
    user("extra_float_digits", int(-15, 3), "1", LOCALE, "Sets the number of digits displayed for floating-point values."),
    user("force_parallel_mode", Kind::Enum(&["off", "on", "regress"]), "off", PLANNER, "Forces the planner's use parallel query nodes."),
    user("from_collapse_limit", int(1, MAX), "8", PLANNER, "Sets the FROM-list size beyond which subqueries are not collapsed."),
    user("geqo", Kind::Bool, "on", PLANNER, "Enables genetic query optimization."),
    user("gin_fuzzy_search_limit", int(0, MAX), "0", CLIENT, "Sets the maximum allowed result for exact search by GIN."),
    user("hnsw.ef_search", int(1, 1000), "40", CUSTOM, "Sets the size of the dynamic candidate list for search"),
    user("hnsw.iterative_scan", Kind::Enum(&["off", "relaxed_order", "strict_order"]), "off", CUSTOM, "Sets the mode for iterative scans"),
    user("hnsw.max_scan_tuples", int(1, MAX), "20000", CUSTOM, "Sets the max number of tuples to visit for iterative scans"),
    user("hnsw.scan_mem_multiplier", real(1.0, 1000.0), "1", CUSTOM, "Sets the multiple of work_mem to use for iterative scans"),
    user("idle_in_transaction_session_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed idle time between queries, when in a transaction.").unit(Unit::Milliseconds),
    user("idle_session_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed idle time between queries, when not in a transaction.").unit(Unit::Milliseconds),
    preset("in_hot_standby", Kind::Bool, "off", "Shows whether hot standby is currently active.").reported(),
    preset("integer_datetimes", Kind::Bool, "on", "Shows whether datetimes are integer based.").reported(),
    user("IntervalStyle", Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "postgres", LOCALE, "Sets the display format for interval values.").reported().only(),
    preset("is_superuser", Kind::Bool, "on", "Shows whether the current user is a superuser.").reported(),
    user("ivfflat.iterative_scan", Kind::Enum(&["off", "relaxed_order"]), "off", CUSTOM, "Sets the mode for iterative scans"),
    user("ivfflat.max_probes", int(1, 32768), "32768", CUSTOM, "Sets the max number of probes for iterative scans"),
    user("ivfflat.probes", int(1, 32768), "1", CUSTOM, "Sets the number of probes"),
    user("jit", Kind::Bool, "off", PLANNER, "Allow JIT compilation."),
    user("join_collapse_limit", int(1, MAX), "8", PLANNER, "Sets the FROM-list size beyond which JOIN constructs are not flattened."),
    preset("lc_collate", Kind::Text, "C", "Shows the collation order locale."),
    preset("lc_ctype", Kind::Text, "C.UTF-8", "Shows the character classification and case conversion locale."),
    user("lc_messages", Kind::Text, "C", LOCALE, "Sets the language in which messages are displayed."),
    user("lc_monetary", Kind::Text, "C", LOCALE, "Sets the locale for formatting monetary amounts."),
    user("lc_numeric", Kind::Text, "C", LOCALE, "Sets the locale for formatting numbers."),
    user("lc_time", Kind::Text, "C", LOCALE, "Sets the locale for formatting date and time values."),
    user("listen_addresses", Kind::Text, "localhost", CONNECTION, "Sets the host name or IP address(es) to listen to.").context(Context::Postmaster),
    user("lock_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed duration of any wait for a lock.").unit(Unit::Milliseconds),
    user("log_min_duration_statement", int(-1, MAX), "-1", LOGGING, "Sets the minimum execution time above which all statements will be logged.").unit(Unit::Milliseconds),
    user("log_min_messages", Kind::Enum(LEVELS), "warning", LOGGING, "Sets the message levels that are logged."),
    user("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", LOGGING, "Sets the type of statements logged."),
    user("lo_compat_privileges", Kind::Bool, "off", COMPATIBILITY, "Enables backward compatibility mode for privilege checks on large objects."),
    user("logical_decoding_work_mem", int(64, MAX), "65536", MEMORY, "Sets the maximum memory to be used for logical decoding.").unit(Unit::Kilobytes),
    user("maintenance_work_mem", int(1024, MAX), "65536", MEMORY, "Sets the maximum memory to be used for maintenance operations.").unit(Unit::Kilobytes),
    user("max_connections", int(1, 262_143), "100", CONNECTION, "Sets the maximum number of concurrent connections.").context(Context::Postmaster),
    preset("max_function_args", int(100, 100), "100", "Shows the maximum number of function arguments."),
    preset("max_identifier_length", int(63, 63), "63", "Shows the maximum identifier length."),
    preset("max_index_keys", int(32, 32), "32", "Shows the maximum number of index keys."),
    user("max_parallel_maintenance_workers", int(0, 1024), "2", WORKERS, "Sets the maximum number of parallel processes per maintenance operation."),
    user("max_parallel_workers", int(0, 1024), "8", WORKERS, "Sets the maximum number of parallel workers that can be active at one time."),
    user("max_parallel_workers_per_gather", int(0, 1024), "2", WORKERS, "Sets the maximum number of parallel processes per executor node."),
    user("max_prepared_transactions", int(0, 262_143), "0", CONNECTION, "Sets the maximum number of simultaneously prepared transactions.").context(Context::Postmaster),
    user("max_stack_depth", int(100, MAX), "2048", MEMORY, "Sets the maximum stack depth, in kilobytes.").unit(Unit::Kilobytes),
    user("max_worker_processes", int(0, 262_143), "8", WORKERS, "Maximum number of concurrent worker processes.").context(Context::Postmaster),
    user("min_parallel_index_scan_size", int(0, MAX), "64", COSTS, "Sets the minimum amount of index data for a parallel scan.").unit(Unit::Blocks),
    user("min_parallel_table_scan_size", int(0, MAX), "1024", COSTS, "Sets the minimum amount of table data for a parallel scan.").unit(Unit::Blocks),
    user("parallel_leader_participation", Kind::Bool, "on", WORKERS, "Controls whether Gather and Gather Merge also run subplans."),
    user("parallel_setup_cost", real(0.0, f64::MAX), "1000", COSTS, "Sets the planner's estimate of the cost of starting up worker processes for parallel query."),
    user("parallel_tuple_cost", real(0.0, f64::MAX), "0.1", COSTS, "Sets the planner's estimate of the cost of passing each tuple (row) from worker to leader backend."),
    user("password_encryption", Kind::Enum(&["md5", "scram-sha-256"]), "scram-sha-256", CONNECTION, "Chooses the algorithm for encrypting passwords."),
    user("plan_cache_mode", Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", PLANNER, "Controls the planner's selection of custom or generic plan."),
    user("port", int(1, 65_535), "5433", CONNECTION, "Sets the TCP port the server listens on.").context(Context::Postmaster),
    user("quote_all_identifiers", Kind::Bool, "off", COMPATIBILITY, "When generating SQL fragments, quote all identifiers."),
    user("random_page_cost", real(0.0, f64::MAX), "4", COSTS, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    user("role", Kind::Text, "none", CLIENT, "Sets the current role."),
    user("row_security", Kind::Bool, "on", CLIENT, "Enable row security."),
    user("search_path", Kind::List, "\"$user\", public", CLIENT, "Sets the schema search order for names that are not schema-qualified."),
    preset("segment_size", int(131_072, 131_072), "131072", "Shows the number of pages per disk file.").unit(Unit::Blocks),
    user("seq_page_cost", real(0.0, f64::MAX), "1", COSTS, "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
    preset("server_encoding", Kind::Text, "UTF8", "Shows the server (database) character set encoding.").reported(),
    preset("server_version", Kind::Text, SERVER_VERSION, "Shows the server version.").reported(),
    preset("server_version_num", int(160_000, 169_999), SERVER_VERSION_NUM, "Shows the server version as an integer."),
    user("session_authorization", Kind::Text, "elanus", CLIENT, "Sets the session user name.").context(Context::Internal).reported(),
    user("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", CLIENT, "Sets the session's behavior for triggers and rewrite rules."),
    user("shared_buffers", int(16, 1_073_741_823), "16384", MEMORY, "Sets the number of shared memory buffers used by the server.").unit(Unit::Blocks).context(Context::Postmaster),
    user("shared_preload_libraries", Kind::Text, "", CLIENT, "Lists shared libraries to preload into server.").context(Context::Postmaster),
    user("ssl", Kind::Bool, "off", CONNECTION, "Enables SSL connections.").context(Context::Sighup),
    user("standard_conforming_strings", Kind::Bool, "on", COMPATIBILITY, "Causes '...' strings to treat backslashes literally.").reported().only(),
    user("statement_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed duration of any statement.").unit(Unit::Milliseconds),
    user("synchronize_seqscans", Kind::Bool, "on", COMPATIBILITY, "Enable synchronized sequential scans."),
    user("synchronous_commit", Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]), "on", WAL, "Sets the current transaction's synchronization level."),
    user("tcp_keepalives_count", int(0, MAX), "0", CONNECTION, "Maximum number of TCP keepalive retransmits."),
    user("tcp_keepalives_idle", int(0, MAX), "0", CONNECTION, "Time between issuing TCP keepalives.").unit(Unit::Seconds),
    user("tcp_keepalives_interval", int(0, MAX), "0", CONNECTION, "Time between TCP keepalive retransmits.").unit(Unit::Seconds),
    user("temp_buffers", int(100, 1_073_741_823), "1024", MEMORY, "Sets the maximum number of temporary buffers used by each session.").unit(Unit::Blocks),
    user("temp_tablespaces", Kind::List, "", CLIENT, "Sets the tablespace(s) to use for temporary tables and sort files."),
    user("TimeZone", Kind::TimeZone, "UTC", LOCALE, "Sets the time zone for displaying and interpreting time stamps.").reported(),
    user("timezone_abbreviations", Kind::Text, "Default", LOCALE, "Selects a file of time zone abbreviations."),
    user("track_activities", Kind::Bool, "on", LOGGING, "Collects information about executing commands."),
    user("track_io_timing", Kind::Bool, "off", LOGGING, "Collects timing statistics for database I/O activity."),
    user("transaction_deferrable", Kind::Bool, "off", CLIENT, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    user("transaction_isolation", Kind::Enum(ISOLATION), "read committed", CLIENT, "Sets the current transaction's isolation level."),
    user("transaction_read_only", Kind::Bool, "off", CLIENT, "Sets the current transaction's read-only status."),
    user("transform_null_equals", Kind::Bool, "off", COMPATIBILITY, "Treats \"expr=NULL\" as \"expr IS NULL\".").only(),
    user("vacuum_cost_delay", real(0.0, 100.0), "0", WORKERS, "Vacuum cost delay in milliseconds."),
    preset("wal_block_size", int(8192, 8192), "8192", "Shows the block size in the write ahead log."),
    user("wal_level", Kind::Enum(&["minimal", "replica", "logical"]), "replica", WAL, "Sets the level of information written to the WAL.").context(Context::Postmaster),
    user("work_mem", int(64, MAX), "4096", MEMORY, "Sets the maximum memory to be used for query workspaces.").unit(Unit::Kilobytes),
    user("xmlbinary", Kind::Enum(&["base64", "hex"]), "base64", CLIENT, "Sets how binary values are to be encoded in XML."),
    user("xmloption", Kind::Enum(&["content", "document"]), "content", CLIENT, "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments."),
}

/// Prefixes under which no placeholder may be made.
pub const RESERVED_PREFIXES: &[&str] = &["elanus", "hnsw", "ivfflat"];

/// The setting of a name, whatever its case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}
