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
    /// By a superuser's session.
    Superuser,
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
            Self::Superuser => "superuser",
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
    /// Whether `pg_settings` and SHOW ALL have a row of it.
    pub listed: bool,
    pub category: &'static str,
    pub description: &'static str,
    /// `pg_settings.extra_desc`.
    pub extra: Option<&'static str>,
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
const TCP: &str = "Connections and Authentication / TCP Settings";
const AUTHENTICATION: &str = "Connections and Authentication / Authentication";
const SSL: &str = "Connections and Authentication / SSL";
const OTHER_PLANNER: &str = "Query Tuning / Other Planner Options";
const GENETIC: &str = "Query Tuning / Genetic Query Optimizer";
const OTHER_CLIENT: &str = "Client Connection Defaults / Other Defaults";
const WHEN: &str = "Reporting and Logging / When to Log";
const PRELOADING: &str = "Client Connection Defaults / Shared Library Preloading";
const STATISTICS: &str = "Statistics / Cumulative Query and Index Statistics";
const PLATFORMS: &str = "Version and Platform Compatibility / Other Platforms and Clients";
const AUTOVACUUM: &str = "Autovacuum";
const VACUUM_COST: &str = "Resource Usage / Cost-Based Vacuum Delay";
const LOCKS: &str = "Lock Management";
const DEVELOPER: &str = "Developer Options";

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
        listed: true,
        category,
        description,
        extra: None,
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

    const fn unlisted(self) -> Self {
        Self { listed: false, ..self }
    }

    const fn extra(self, text: &'static str) -> Self {
        Self { extra: Some(text), ..self }
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
    user("array_nulls", Kind::Bool, "on", COMPATIBILITY, "Enable input of NULL elements in arrays.").only().extra("When turned on, unquoted NULL in an array input value means a null value; otherwise it is taken literally."),
    user("autovacuum", Kind::Bool, "on", AUTOVACUUM, "Starts the autovacuum subprocess.").context(Context::Sighup),
    user("autovacuum_vacuum_scale_factor", real(0.0, 100.0), "0.2", AUTOVACUUM, "Number of tuple updates or deletes prior to vacuum as a fraction of reltuples.").context(Context::Sighup),
    user("backend_flush_after", int(0, 256), "0", WORKERS, "Number of pages after which previously performed writes are flushed to disk.").unit(Unit::Blocks),
    user("backslash_quote", Kind::Enum(&["safe_encoding", "on", "off"]), "safe_encoding", COMPATIBILITY, "Sets whether \"\\'\" is allowed in string literals."),
    preset("block_size", int(8192, 8192), "8192", "Shows the size of a disk block."),
    user("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", CLIENT, "Sets the output format for bytea."),
    user("check_function_bodies", Kind::Bool, "on", CLIENT, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    user("client_connection_check_interval", int(0, MAX), "0", TCP, "Sets the time interval between checks for disconnection while running queries.").unit(Unit::Milliseconds),
    user("client_encoding", Kind::Encoding, "UTF8", LOCALE, "Sets the client's character set encoding.").reported(),
    user("client_min_messages", Kind::Enum(LEVELS), "notice", CLIENT, "Sets the message levels that are sent to the client.").extra("Each level includes all the levels that follow it. The later the level, the fewer messages are sent."),
    user("commit_delay", int(0, 100_000), "0", WAL, "Sets the delay in microseconds between transaction commit and flushing WAL to disk.").context(Context::Superuser),
    user("commit_siblings", int(0, 1000), "5", WAL, "Sets the minimum number of concurrent open transactions required before performing commit_delay."),
    user("constraint_exclusion", Kind::Enum(&["partition", "on", "off"]), "partition", OTHER_PLANNER, "Enables the planner to use constraints to optimize queries.").extra("Table scans will be skipped if their constraints guarantee that no rows match the query."),
    user("cpu_index_tuple_cost", real(0.0, f64::MAX), "0.005", COSTS, "Sets the planner's estimate of the cost of processing each index entry during an index scan."),
    user("cpu_operator_cost", real(0.0, f64::MAX), "0.0025", COSTS, "Sets the planner's estimate of the cost of processing each operator or function call."),
    user("cpu_tuple_cost", real(0.0, f64::MAX), "0.01", COSTS, "Sets the planner's estimate of the cost of processing each tuple (row)."),
    user("cursor_tuple_fraction", real(0.0, 1.0), "0.1", OTHER_PLANNER, "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved."),
    user("DateStyle", Kind::DateStyle, "ISO, MDY", LOCALE, "Sets the display format for date and time values.").reported().extra("Also controls interpretation of ambiguous date inputs."),
    user("deadlock_timeout", int(1, MAX), "1000", LOCKS, "Sets the time to wait on a lock before checking for deadlock.").unit(Unit::Milliseconds).context(Context::Superuser),
    user("debug_parallel_query", Kind::Enum(&["off", "on", "regress"]), "off", DEVELOPER, "Forces the planner's use parallel query nodes.").extra("This can be useful for testing the parallel query infrastructure by forcing the planner to generate plans that contain nodes that perform tuple communication between workers and the main process."),
    user("default_statistics_target", int(1, 10_000), "100", OTHER_PLANNER, "Sets the default statistics target.").extra("This applies to table columns that have not had a column-specific target set via ALTER TABLE SET STATISTICS."),
    user("default_table_access_method", Kind::Text, "heap", CLIENT, "Sets the default table access method for new tables."),
    user("default_tablespace", Kind::Text, "", CLIENT, "Sets the default tablespace to create tables and indexes in.").extra("An empty string selects the database's default tablespace."),
    user("default_text_search_config", Kind::Text, "pg_catalog.simple", LOCALE, "Sets default text search configuration."),
    user("default_toast_compression", Kind::Enum(&["pglz"]), "pglz", CLIENT, "Sets the default compression method for compressible values."),
    user("default_transaction_deferrable", Kind::Bool, "off", CLIENT, "Sets the default deferrable status of new transactions."),
    user("default_transaction_isolation", Kind::Enum(ISOLATION), "read committed", CLIENT, "Sets the transaction isolation level of each new transaction."),
    user("default_transaction_read_only", Kind::Bool, "off", CLIENT, "Sets the default read-only status of new transactions.").reported(),
    user("effective_cache_size", int(1, MAX), "524288", COSTS, "Sets the planner's assumption about the total size of the data caches.").unit(Unit::Blocks).extra("That is, the total size of the caches (kernel cache and shared buffers) used for PostgreSQL data files. This is measured in disk pages, which are normally 8 kB each."),
    user("effective_io_concurrency", int(0, 1000), "1", WORKERS, "Number of simultaneous requests that can be handled efficiently by the disk subsystem."),
    user("elanus.collection_grace", int(0, MAX), "60", CUSTOM, "Shows how long files that nothing needs are kept.").unit(Unit::Seconds).context(Context::Internal),
    user("elanus.compaction_segments", int(2, MAX), "8", CUSTOM, "Shows how many small segments of a table are merged by themselves.").context(Context::Internal),
    user("elanus.consistency_level", Kind::Enum(CONSISTENCY), "strong", CUSTOM, "Sets what a read must see: strong, session, bounded or eventual."),
    user("elanus.guarantee_ts", int(0, i64::MAX), "0", CUSTOM, "Makes reads wait until everything committed at or before this timestamp is applied."),
    user("elanus.pgvector_limits", Kind::Bool, "on", CUSTOM, "Keeps pgvector's limits on dimensions of indexed columns."),
    user("elanus.read_time", Kind::Instant, "", CUSTOM, "Shows the data as of this time; empty for now."),
    user("elanus.retention", int(0, MAX), "3600", CUSTOM, "Shows how long deleted and replaced rows, and dropped tables, can still be read.").unit(Unit::Seconds).context(Context::Sighup),
    user("elanus.staleness", int(0, MAX), "5000", CUSTOM, "Sets how old a bounded read may be.").unit(Unit::Milliseconds),
    user("elanus.target_recall", real(0.0, 1.0), "0.95", CUSTOM, "Sets the recall that automatic index parameters aim at."),
    user("elanus.write_work_mem", int(64, MAX), "65536", CUSTOM, "Sets the memory that a transaction's new rows of a table may take before they go to files.").unit(Unit::Kilobytes).extra("The files become part of the table at the commit."),
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
    user("enable_partition_pruning", Kind::Bool, "on", PLANNER, "Enables plan-time and execution-time partition pruning.").extra("Allows the query planner and executor to compare partition bounds to conditions in the query to determine which partitions must be scanned."),
    user("enable_partitionwise_aggregate", Kind::Bool, "off", PLANNER, "Enables partitionwise aggregation and grouping."),
    user("enable_partitionwise_join", Kind::Bool, "off", PLANNER, "Enables partitionwise join."),
    user("enable_presorted_aggregate", Kind::Bool, "on", PLANNER, "Enables the planner's ability to produce plans that provide presorted input for ORDER BY / DISTINCT aggregate functions.").extra("Allows the query planner to build plans that provide presorted input for aggregate functions with an ORDER BY / DISTINCT clause.  When disabled, implicit sorts are always performed during execution."),
    user("enable_seqscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of sequential-scan plans."),
    user("enable_sort", Kind::Bool, "on", PLANNER, "Enables the planner's use of explicit sort steps."),
    user("enable_tidscan", Kind::Bool, "on", PLANNER, "Enables the planner's use of TID scan plans."),
    user("escape_string_warning", Kind::Bool, "on", COMPATIBILITY, "Warn about backslash escapes in ordinary string literals."),
    user("extra_float_digits", int(-15, 3), "1", LOCALE, "Sets the number of digits displayed for floating-point values.").extra("This affects real, double precision, and geometric data types. A zero or negative parameter value is added to the standard number of digits (FLT_DIG or DBL_DIG as appropriate). Any value greater than zero selects precise output mode."),
    user("from_collapse_limit", int(1, MAX), "8", OTHER_PLANNER, "Sets the FROM-list size beyond which subqueries are not collapsed.").extra("The planner will merge subqueries into upper queries if the resulting FROM list would have no more than this many items."),
    user("geqo", Kind::Bool, "on", GENETIC, "Enables genetic query optimization.").extra("This algorithm attempts to do planning without exhaustive searching."),
    user("geqo_effort", int(1, 10), "5", GENETIC, "GEQO: effort is used to set the default for other GEQO parameters."),
    user("geqo_generations", int(0, MAX), "0", GENETIC, "GEQO: number of iterations of the algorithm.").extra("Zero selects a suitable default value."),
    user("geqo_pool_size", int(0, MAX), "0", GENETIC, "GEQO: number of individuals in the population.").extra("Zero selects a suitable default value."),
    user("geqo_seed", real(0.0, 1.0), "0", GENETIC, "GEQO: seed for random path selection."),
    user("geqo_selection_bias", real(1.5, 2.0), "2", GENETIC, "GEQO: selective pressure within the population."),
    user("geqo_threshold", int(2, MAX), "12", GENETIC, "Sets the threshold of FROM items beyond which GEQO is used."),
    user("gin_fuzzy_search_limit", int(0, MAX), "0", OTHER_CLIENT, "Sets the maximum allowed result for exact search by GIN."),
    user("gin_pending_list_limit", int(64, MAX), "4096", CLIENT, "Sets the maximum size of the pending list for GIN index.").unit(Unit::Kilobytes),
    user("hash_mem_multiplier", real(1.0, 1000.0), "2", MEMORY, "Multiple of work_mem to use for hash tables."),
    user("hnsw.ef_search", int(1, 1000), "40", CUSTOM, "Sets the size of the dynamic candidate list for search").extra("Valid range is 1..1000."),
    user("hnsw.iterative_scan", Kind::Enum(&["off", "relaxed_order", "strict_order"]), "off", CUSTOM, "Sets the mode for iterative scans"),
    user("hnsw.max_scan_tuples", int(1, MAX), "20000", CUSTOM, "Sets the max number of tuples to visit for iterative scans"),
    user("hnsw.scan_mem_multiplier", real(1.0, 1000.0), "1", CUSTOM, "Sets the multiple of work_mem to use for iterative scans"),
    user("idle_in_transaction_session_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed idle time between queries, when in a transaction.").unit(Unit::Milliseconds).extra("A value of 0 turns off the timeout."),
    user("idle_session_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed idle time between queries, when not in a transaction.").unit(Unit::Milliseconds).extra("A value of 0 turns off the timeout."),
    preset("in_hot_standby", Kind::Bool, "off", "Shows whether hot standby is currently active.").reported(),
    preset("integer_datetimes", Kind::Bool, "on", "Shows whether datetimes are integer based.").reported(),
    user("IntervalStyle", Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "postgres", LOCALE, "Sets the display format for interval values.").reported().only(),
    preset("is_superuser", Kind::Bool, "on", "Shows whether the current user is a superuser.").reported().unlisted(),
    user("ivfflat.iterative_scan", Kind::Enum(&["off", "relaxed_order"]), "off", CUSTOM, "Sets the mode for iterative scans"),
    user("ivfflat.max_probes", int(1, 32768), "32768", CUSTOM, "Sets the max number of probes for iterative scans"),
    user("ivfflat.probes", int(1, 32768), "1", CUSTOM, "Sets the number of probes").extra("Valid range is 1..lists."),
    user("jit", Kind::Bool, "off", OTHER_PLANNER, "Allow JIT compilation."),
    user("jit_above_cost", real(-1.0, f64::MAX), "100000", COSTS, "Perform JIT compilation if query is more expensive.").extra("-1 disables JIT compilation."),
    user("jit_expressions", Kind::Bool, "on", DEVELOPER, "Allow JIT compilation of expressions."),
    user("jit_inline_above_cost", real(-1.0, f64::MAX), "500000", COSTS, "Perform JIT inlining if query is more expensive.").extra("-1 disables inlining."),
    user("jit_optimize_above_cost", real(-1.0, f64::MAX), "500000", COSTS, "Optimize JIT-compiled functions if query is more expensive.").extra("-1 disables optimization."),
    user("jit_tuple_deforming", Kind::Bool, "on", DEVELOPER, "Allow JIT compilation of tuple deforming."),
    user("join_collapse_limit", int(1, MAX), "8", OTHER_PLANNER, "Sets the FROM-list size beyond which JOIN constructs are not flattened.").extra("The planner will flatten explicit JOIN constructs into lists of FROM items whenever a list of no more than this many items would result."),
    user("lc_messages", Kind::Text, "C", LOCALE, "Sets the language in which messages are displayed.").context(Context::Superuser),
    user("lc_monetary", Kind::Text, "C", LOCALE, "Sets the locale for formatting monetary amounts."),
    user("lc_numeric", Kind::Text, "C", LOCALE, "Sets the locale for formatting numbers."),
    user("lc_time", Kind::Text, "C", LOCALE, "Sets the locale for formatting date and time values."),
    user("listen_addresses", Kind::Text, "localhost", CONNECTION, "Sets the host name or IP address(es) to listen to.").context(Context::Postmaster),
    user("lo_compat_privileges", Kind::Bool, "off", COMPATIBILITY, "Enables backward compatibility mode for privilege checks on large objects.").context(Context::Superuser).extra("Skips privilege checks when reading or modifying large objects, for compatibility with PostgreSQL releases prior to 9.0."),
    user("lock_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed duration of any wait for a lock.").unit(Unit::Milliseconds).extra("A value of 0 turns off the timeout."),
    user("log_min_duration_statement", int(-1, MAX), "-1", WHEN, "Sets the minimum execution time above which all statements will be logged.").unit(Unit::Milliseconds).context(Context::Superuser).extra("Zero prints all queries. -1 turns this feature off."),
    user("log_min_messages", Kind::Enum(LEVELS), "warning", WHEN, "Sets the message levels that are logged.").context(Context::Superuser).extra("Each level includes all the levels that follow it. The later the level, the fewer messages are sent."),
    user("log_statement", Kind::Enum(&["none", "ddl", "mod", "all"]), "none", LOGGING, "Sets the type of statements logged.").context(Context::Superuser),
    user("logical_decoding_work_mem", int(64, MAX), "65536", MEMORY, "Sets the maximum memory to be used for logical decoding.").unit(Unit::Kilobytes).extra("This much memory can be used by each internal reorder buffer before spilling to disk."),
    user("maintenance_io_concurrency", int(0, 1000), "10", WORKERS, "A variant of effective_io_concurrency that is used for maintenance work."),
    user("maintenance_work_mem", int(1024, MAX), "65536", MEMORY, "Sets the maximum memory to be used for maintenance operations.").unit(Unit::Kilobytes).extra("This includes operations such as VACUUM and CREATE INDEX."),
    user("max_connections", int(1, 262_143), "100", CONNECTION, "Sets the maximum number of concurrent connections.").context(Context::Postmaster),
    preset("max_function_args", int(100, 100), "100", "Shows the maximum number of function arguments."),
    preset("max_identifier_length", int(63, 63), "63", "Shows the maximum identifier length."),
    preset("max_index_keys", int(32, 32), "32", "Shows the maximum number of index keys."),
    user("max_parallel_maintenance_workers", int(0, 1024), "2", WORKERS, "Sets the maximum number of parallel processes per maintenance operation."),
    user("max_parallel_workers", int(0, 1024), "8", WORKERS, "Sets the maximum number of parallel workers that can be active at one time."),
    user("max_parallel_workers_per_gather", int(0, 1024), "2", WORKERS, "Sets the maximum number of parallel processes per executor node."),
    user("max_prepared_transactions", int(0, 262_143), "0", MEMORY, "Sets the maximum number of simultaneously prepared transactions.").context(Context::Postmaster),
    user("max_stack_depth", int(100, MAX), "2048", MEMORY, "Sets the maximum stack depth, in kilobytes.").unit(Unit::Kilobytes).context(Context::Superuser),
    user("max_worker_processes", int(0, 262_143), "8", WORKERS, "Maximum number of concurrent worker processes.").context(Context::Postmaster),
    user("min_parallel_index_scan_size", int(0, 715_827_882), "64", COSTS, "Sets the minimum amount of index data for a parallel scan.").unit(Unit::Blocks).extra("If the planner estimates that it will read a number of index pages too small to reach this limit, a parallel scan will not be considered."),
    user("min_parallel_table_scan_size", int(0, 715_827_882), "1024", COSTS, "Sets the minimum amount of table data for a parallel scan.").unit(Unit::Blocks).extra("If the planner estimates that it will read a number of table pages too small to reach this limit, a parallel scan will not be considered."),
    user("parallel_leader_participation", Kind::Bool, "on", WORKERS, "Controls whether Gather and Gather Merge also run subplans.").extra("Should gather nodes also run subplans or just gather tuples?"),
    user("parallel_setup_cost", real(0.0, f64::MAX), "1000", COSTS, "Sets the planner's estimate of the cost of starting up worker processes for parallel query."),
    user("parallel_tuple_cost", real(0.0, f64::MAX), "0.1", COSTS, "Sets the planner's estimate of the cost of passing each tuple (row) from worker to leader backend."),
    user("password_encryption", Kind::Enum(&["md5", "scram-sha-256"]), "scram-sha-256", AUTHENTICATION, "Chooses the algorithm for encrypting passwords."),
    user("plan_cache_mode", Kind::Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto", OTHER_PLANNER, "Controls the planner's selection of custom or generic plan.").extra("Prepared statements can have custom and generic plans, and the planner will attempt to choose which is better.  This can be set to override the default behavior."),
    user("port", int(1, 65_535), "5433", CONNECTION, "Sets the TCP port the server listens on.").context(Context::Postmaster),
    user("quote_all_identifiers", Kind::Bool, "off", COMPATIBILITY, "When generating SQL fragments, quote all identifiers."),
    user("random_page_cost", real(0.0, f64::MAX), "4", COSTS, "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    user("recursive_worktable_factor", real(0.001, 1_000_000.0), "10", OTHER_PLANNER, "Sets the planner's estimate of the average size of a recursive query's working table."),
    user("restrict_nonsystem_relation_kind", Kind::Text, "", CLIENT, "Prohibits access to non-system relations of specified kinds."),
    user("role", Kind::Text, "none", CLIENT, "Sets the current role.").unlisted(),
    user("row_security", Kind::Bool, "on", CLIENT, "Enable row security.").extra("When enabled, row security will be applied to all users."),
    user("scram_iterations", int(1, MAX), "4096", AUTHENTICATION, "Sets the iteration count for SCRAM secret generation."),
    user("search_path", Kind::List, "\"$user\", public", CLIENT, "Sets the schema search order for names that are not schema-qualified."),
    preset("segment_size", int(131_072, 131_072), "131072", "Shows the number of pages per disk file.").unit(Unit::Blocks),
    user("seq_page_cost", real(0.0, f64::MAX), "1", COSTS, "Sets the planner's estimate of the cost of a sequentially fetched disk page."),
    preset("server_encoding", Kind::Text, "UTF8", "Shows the server (database) character set encoding.").reported(),
    preset("server_version", Kind::Text, SERVER_VERSION, "Shows the server version.").reported(),
    preset("server_version_num", int(160_014, 160_014), SERVER_VERSION_NUM, "Shows the server version as an integer."),
    user("session_authorization", Kind::Text, "elanus", CLIENT, "Sets the session user name.").context(Context::Internal).reported().unlisted(),
    user("session_replication_role", Kind::Enum(&["origin", "replica", "local"]), "origin", CLIENT, "Sets the session's behavior for triggers and rewrite rules.").context(Context::Superuser),
    user("shared_buffers", int(16, 1_073_741_823), "16384", MEMORY, "Sets the number of shared memory buffers used by the server.").unit(Unit::Blocks).context(Context::Postmaster),
    user("shared_preload_libraries", Kind::Text, "", PRELOADING, "Lists shared libraries to preload into server.").context(Context::Postmaster),
    user("ssl", Kind::Bool, "off", SSL, "Enables SSL connections.").context(Context::Sighup),
    user("standard_conforming_strings", Kind::Bool, "on", COMPATIBILITY, "Causes '...' strings to treat backslashes literally.").reported().only(),
    user("statement_timeout", int(0, MAX), "0", CLIENT, "Sets the maximum allowed duration of any statement.").unit(Unit::Milliseconds).extra("A value of 0 turns off the timeout."),
    user("stats_fetch_consistency", Kind::Enum(&["none", "cache", "snapshot"]), "cache", STATISTICS, "Sets the consistency of accesses to statistics data."),
    user("synchronize_seqscans", Kind::Bool, "on", COMPATIBILITY, "Enable synchronized sequential scans."),
    user("synchronous_commit", Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]), "on", WAL, "Sets the current transaction's synchronization level."),
    user("tcp_keepalives_count", int(0, MAX), "0", TCP, "Maximum number of TCP keepalive retransmits.").extra("Number of consecutive keepalive retransmits that can be lost before a connection is considered dead. A value of 0 uses the system default."),
    user("tcp_keepalives_idle", int(0, MAX), "0", TCP, "Time between issuing TCP keepalives.").unit(Unit::Seconds).extra("A value of 0 uses the system default."),
    user("tcp_keepalives_interval", int(0, MAX), "0", TCP, "Time between TCP keepalive retransmits.").unit(Unit::Seconds).extra("A value of 0 uses the system default."),
    user("tcp_user_timeout", int(0, MAX), "0", TCP, "TCP user timeout.").unit(Unit::Milliseconds).extra("A value of 0 uses the system default."),
    user("temp_buffers", int(100, 1_073_741_823), "1024", MEMORY, "Sets the maximum number of temporary buffers used by each session.").unit(Unit::Blocks),
    user("temp_tablespaces", Kind::List, "", CLIENT, "Sets the tablespace(s) to use for temporary tables and sort files."),
    user("TimeZone", Kind::TimeZone, "UTC", LOCALE, "Sets the time zone for displaying and interpreting time stamps.").reported(),
    user("timezone_abbreviations", Kind::Text, "Default", LOCALE, "Selects a file of time zone abbreviations."),
    user("track_activities", Kind::Bool, "on", STATISTICS, "Collects information about executing commands.").context(Context::Superuser).extra("Enables the collection of information on the currently executing command of each session, along with the time at which that command began execution."),
    user("track_io_timing", Kind::Bool, "off", STATISTICS, "Collects timing statistics for database I/O activity.").context(Context::Superuser),
    user("transaction_deferrable", Kind::Bool, "off", CLIENT, "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures."),
    user("transaction_isolation", Kind::Enum(ISOLATION), "read committed", CLIENT, "Sets the current transaction's isolation level."),
    user("transaction_read_only", Kind::Bool, "off", CLIENT, "Sets the current transaction's read-only status."),
    user("transform_null_equals", Kind::Bool, "off", PLATFORMS, "Treats \"expr=NULL\" as \"expr IS NULL\".").only().extra("When turned on, expressions of the form expr = NULL (or NULL = expr) are treated as expr IS NULL, that is, they return true if expr evaluates to the null value, and false otherwise. The correct behavior of expr = NULL is to always return null (unknown)."),
    user("vacuum_cost_delay", real(0.0, 100.0), "0", VACUUM_COST, "Vacuum cost delay in milliseconds.").unit(Unit::Milliseconds),
    user("vacuum_cost_limit", int(1, 10_000), "200", VACUUM_COST, "Vacuum cost amount available before napping."),
    preset("wal_block_size", int(8192, 8192), "8192", "Shows the block size in the write ahead log."),
    user("wal_level", Kind::Enum(&["minimal", "replica", "logical"]), "replica", WAL, "Sets the level of information written to the WAL.").context(Context::Postmaster),
    user("wal_skip_threshold", int(0, MAX), "2048", WAL, "Minimum size of new file to fsync instead of writing WAL.").unit(Unit::Kilobytes),
    user("work_mem", int(64, MAX), "4096", MEMORY, "Sets the maximum memory to be used for query workspaces.").unit(Unit::Kilobytes).extra("This much memory can be used by each internal sort operation and hash table before switching to temporary disk files."),
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
