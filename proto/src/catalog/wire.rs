//! The protobuf forms of catalog values, as the meta store and table manifests keep them.
//!
//! Invariant: field numbers are never reused; unknown fields of a newer format are ignored by prost.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::{
    CheckConstraint, Column, Consistency, DatabaseMeta, ForeignKey, FormError, FormerColumns, Identity,
    IndexMeta, IndexMethod, MatchType, NamespaceMeta, ObjectAddress, PrimaryKey, ReferentialAction,
    SequenceMeta, TableMeta, TableOptions, UniqueKey, decode, type_from_wire, type_to_wire,
};
use crate::id::{ChannelId, DatabaseId, Oid, SequenceId, TableId};
use crate::metric::DistanceMetric;

#[derive(Clone, PartialEq, Message)]
struct ColumnForm {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    type_oid: u32,
    #[prost(sint32, tag = "4")]
    typmod: i32,
    #[prost(bool, tag = "5")]
    nullable: bool,
    #[prost(string, optional, tag = "6")]
    default: Option<String>,
    /// 0 none, 1 always, 2 by default.
    #[prost(uint32, tag = "7")]
    identity: u32,
    #[prost(bytes = "bytes", optional, tag = "8")]
    missing: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckForm {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    expression: String,
    #[prost(uint32, repeated, tag = "4")]
    columns: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct FormerForm {
    #[prost(uint64, tag = "1")]
    until: u64,
    #[prost(uint32, repeated, tag = "2")]
    columns: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct PrimaryKeyForm {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(uint32, tag = "2")]
    index_oid: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint32, repeated, tag = "4")]
    columns: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct UniqueForm {
    /// 0 for an index without a constraint.
    #[prost(uint32, tag = "1")]
    constraint: u32,
    #[prost(bool, tag = "2")]
    is_constraint: bool,
    #[prost(uint32, tag = "3")]
    index_oid: u32,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, repeated, tag = "5")]
    columns: Vec<u32>,
    #[prost(bool, tag = "6")]
    nulls_not_distinct: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ForeignForm {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, repeated, tag = "3")]
    columns: Vec<u32>,
    #[prost(uint64, tag = "4")]
    target: u64,
    #[prost(uint32, repeated, tag = "5")]
    target_columns: Vec<u32>,
    #[prost(uint32, tag = "6")]
    target_index: u32,
    #[prost(bool, tag = "7")]
    matches_full: bool,
    /// 0 no action, 1 restrict, 2 cascade, 3 set null, 4 set default.
    #[prost(uint32, tag = "8")]
    on_delete: u32,
    #[prost(uint32, tag = "9")]
    on_update: u32,
}

#[derive(Clone, PartialEq, Message)]
struct IndexForm {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    column: u32,
    /// 1 L2, 2 inner product, 3 cosine, 4 L1.
    #[prost(uint32, tag = "4")]
    metric: u32,
    /// 1 hnsw, 2 ivfflat.
    #[prost(uint32, tag = "5")]
    method: u32,
    /// hnsw: m, ef_construction; ivfflat: lists.
    #[prost(uint32, repeated, tag = "6")]
    parameters: Vec<u32>,
    #[prost(string, repeated, tag = "7")]
    written_options: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TableForm {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    database: u64,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, tag = "5")]
    type_oid: u32,
    #[prost(uint64, tag = "6")]
    schema_version: u64,
    #[prost(uint32, tag = "7")]
    next_column_id: u32,
    #[prost(message, repeated, tag = "8")]
    columns: Vec<ColumnForm>,
    #[prost(message, optional, tag = "9")]
    primary_key: Option<PrimaryKeyForm>,
    #[prost(uint64, tag = "10")]
    channel: u64,
    #[prost(message, repeated, tag = "11")]
    indexes: Vec<IndexForm>,
    #[prost(message, repeated, tag = "12")]
    checks: Vec<CheckForm>,
    #[prost(message, repeated, tag = "13")]
    former: Vec<FormerForm>,
    #[prost(uint64, tag = "14")]
    rewritten: u64,
    #[prost(uint64, optional, tag = "15")]
    retention_millis: Option<u64>,
    /// 0 none.
    #[prost(uint32, tag = "16")]
    consistency: u32,
    #[prost(message, repeated, tag = "17")]
    uniques: Vec<UniqueForm>,
    #[prost(message, repeated, tag = "18")]
    foreign_keys: Vec<ForeignForm>,
}

#[derive(Clone, PartialEq, Message)]
struct SequenceForm {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    database: u64,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(uint32, tag = "5")]
    type_oid: u32,
    #[prost(sint64, tag = "6")]
    start: i64,
    #[prost(sint64, tag = "7")]
    increment: i64,
    #[prost(sint64, tag = "8")]
    minimum: i64,
    #[prost(sint64, tag = "9")]
    maximum: i64,
    /// 0 when no column owns it.
    #[prost(uint64, tag = "10")]
    owner_table: u64,
    #[prost(uint32, tag = "11")]
    owner_column: u32,
    /// Absent when it is `start`.
    #[prost(sint64, optional, tag = "12")]
    first: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceForm {
    #[prost(uint32, tag = "1")]
    oid: u32,
    #[prost(uint64, tag = "2")]
    database: u64,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct CommentForm {
    #[prost(uint32, tag = "1")]
    class: u32,
    #[prost(uint32, tag = "2")]
    object: u32,
    #[prost(uint32, tag = "3")]
    column: u32,
    #[prost(string, tag = "4")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct DatabaseForm {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    home_channel: u64,
    #[prost(string, repeated, tag = "4")]
    extensions: Vec<String>,
}

/// The stored form of a table.
#[must_use]
pub fn encode_table(table: &TableMeta) -> Vec<u8> {
    TableForm {
        id: table.id.0,
        database: table.database.0,
        namespace: table.namespace.clone(),
        name: table.name.clone(),
        type_oid: table.type_oid.0,
        schema_version: table.schema_version,
        next_column_id: table.next_column_id,
        columns: table.columns.iter().map(column_form).collect(),
        primary_key: table.primary_key.as_ref().map(|key| PrimaryKeyForm {
            oid: key.oid.0,
            index_oid: key.index_oid.0,
            name: key.name.clone(),
            columns: key.columns.clone(),
        }),
        channel: table.channel.0,
        indexes: table.indexes.iter().map(index_form).collect(),
        checks: table.checks.iter().map(check_form).collect(),
        former: table.former.iter().map(former_form).collect(),
        rewritten: table.rewritten,
        retention_millis: table.options.retention_millis,
        consistency: table.options.consistency.map_or(0, Consistency::number),
        uniques: table.uniques.iter().map(unique_form).collect(),
        foreign_keys: table.foreign_keys.iter().map(foreign_form).collect(),
    }
    .encode_to_vec()
}

const METRICS: [DistanceMetric; 4] =
    [DistanceMetric::L2, DistanceMetric::InnerProduct, DistanceMetric::Cosine, DistanceMetric::L1];

fn index_form(index: &IndexMeta) -> IndexForm {
    let (method, parameters) = match index.method {
        IndexMethod::Hnsw { m, ef_construction } => (1, vec![m, ef_construction]),
        IndexMethod::IvfFlat { lists } => (2, vec![lists]),
    };
    let metric = METRICS.iter().position(|metric| *metric == index.metric).unwrap_or(0) as u32 + 1;
    IndexForm {
        oid: index.oid.0,
        name: index.name.clone(),
        column: index.column,
        metric,
        method,
        parameters,
        written_options: index.written_options.clone(),
    }
}

fn index_of_form(form: IndexForm) -> Result<IndexMeta, FormError> {
    let metric = METRICS.get((form.metric as usize).wrapping_sub(1));
    let method = match (form.method, form.parameters.as_slice()) {
        (1, &[m, ef_construction]) => Some(IndexMethod::Hnsw { m, ef_construction }),
        (2, &[lists]) => Some(IndexMethod::IvfFlat { lists }),
        _ => None,
    };
    let (Some(&metric), Some(method)) = (metric, method) else {
        return Err(FormError::UnknownIndex(form.name));
    };
    Ok(IndexMeta {
        oid: Oid(form.oid),
        name: form.name,
        column: form.column,
        metric,
        method,
        written_options: form.written_options,
    })
}

fn unique_form(key: &UniqueKey) -> UniqueForm {
    UniqueForm {
        constraint: key.constraint.map_or(0, |oid| oid.0),
        is_constraint: key.constraint.is_some(),
        index_oid: key.index_oid.0,
        name: key.name.clone(),
        columns: key.columns.clone(),
        nulls_not_distinct: !key.nulls_distinct,
    }
}

fn unique_of_form(form: UniqueForm) -> UniqueKey {
    UniqueKey {
        constraint: form.is_constraint.then_some(Oid(form.constraint)),
        index_oid: Oid(form.index_oid),
        name: form.name,
        columns: form.columns,
        nulls_distinct: !form.nulls_not_distinct,
    }
}

const ACTIONS: [ReferentialAction; 5] = [
    ReferentialAction::NoAction,
    ReferentialAction::Restrict,
    ReferentialAction::Cascade,
    ReferentialAction::SetNull,
    ReferentialAction::SetDefault,
];

fn foreign_form(key: &ForeignKey) -> ForeignForm {
    let number = |action| ACTIONS.iter().position(|known| *known == action).unwrap_or(0) as u32;
    ForeignForm {
        oid: key.oid.0,
        name: key.name.clone(),
        columns: key.columns.clone(),
        target: key.target.0,
        target_columns: key.target_columns.clone(),
        target_index: key.target_index.0,
        matches_full: key.match_type == MatchType::Full,
        on_delete: number(key.on_delete),
        on_update: number(key.on_update),
    }
}

fn foreign_of_form(form: ForeignForm) -> Result<ForeignKey, FormError> {
    let action = |number: u32| {
        let known = ACTIONS.get(number as usize).copied();
        known.ok_or_else(|| FormError::UnknownAction(form.name.clone()))
    };
    Ok(ForeignKey {
        oid: Oid(form.oid),
        columns: form.columns,
        target: TableId(form.target),
        target_columns: form.target_columns,
        target_index: Oid(form.target_index),
        match_type: if form.matches_full { MatchType::Full } else { MatchType::Simple },
        on_delete: action(form.on_delete)?,
        on_update: action(form.on_update)?,
        name: form.name,
    })
}

fn check_form(check: &CheckConstraint) -> CheckForm {
    CheckForm {
        oid: check.oid.0,
        name: check.name.clone(),
        expression: check.expression.clone(),
        columns: check.columns.clone(),
    }
}

fn former_form(former: &FormerColumns) -> FormerForm {
    FormerForm { until: former.until, columns: former.columns.clone() }
}

fn column_form(column: &Column) -> ColumnForm {
    let (type_oid, typmod) = type_to_wire(column.ty);
    ColumnForm {
        id: column.id,
        name: column.name.clone(),
        type_oid,
        typmod,
        nullable: column.nullable,
        default: column.default.clone(),
        identity: match column.identity {
            None => 0,
            Some(Identity::Always) => 1,
            Some(Identity::ByDefault) => 2,
        },
        missing: column.missing.clone(),
    }
}

/// # Errors
/// When the bytes are not a table, or one with an index of a kind that this version does not know.
pub fn decode_table(bytes: &[u8]) -> Result<Arc<TableMeta>, FormError> {
    let form: TableForm = decode(bytes)?;
    Ok(Arc::new(TableMeta {
        id: TableId(form.id),
        database: DatabaseId(form.database),
        namespace: form.namespace,
        name: form.name,
        type_oid: Oid(form.type_oid),
        schema_version: form.schema_version,
        next_column_id: form.next_column_id,
        columns: form.columns.into_iter().map(column_of_form).collect(),
        primary_key: form.primary_key.map(|key| PrimaryKey {
            oid: Oid(key.oid),
            index_oid: Oid(key.index_oid),
            name: key.name,
            columns: key.columns,
        }),
        indexes: form.indexes.into_iter().map(index_of_form).collect::<Result<_, _>>()?,
        uniques: form.uniques.into_iter().map(unique_of_form).collect(),
        foreign_keys: form.foreign_keys.into_iter().map(foreign_of_form).collect::<Result<_, _>>()?,
        checks: form.checks.into_iter().map(check_of_form).collect(),
        former: form.former.into_iter().map(former_of_form).collect(),
        rewritten: form.rewritten,
        options: TableOptions {
            retention_millis: form.retention_millis,
            consistency: Consistency::of_number(form.consistency),
        },
        channel: ChannelId(form.channel),
    }))
}

fn check_of_form(form: CheckForm) -> CheckConstraint {
    CheckConstraint {
        oid: Oid(form.oid),
        name: form.name,
        expression: form.expression,
        columns: form.columns,
    }
}

fn former_of_form(form: FormerForm) -> FormerColumns {
    FormerColumns { until: form.until, columns: form.columns }
}

fn column_of_form(form: ColumnForm) -> Column {
    Column {
        id: form.id,
        name: form.name,
        ty: type_from_wire(form.type_oid, form.typmod),
        nullable: form.nullable,
        default: form.default,
        identity: match form.identity {
            1 => Some(Identity::Always),
            2 => Some(Identity::ByDefault),
            _ => None,
        },
        missing: form.missing,
    }
}

/// The stored form of a sequence.
#[must_use]
pub fn encode_sequence(sequence: &SequenceMeta) -> Vec<u8> {
    let (owner_table, owner_column) = sequence.owned_by.map_or((0, 0), |(table, column)| (table.0, column));
    SequenceForm {
        id: sequence.id.0,
        database: sequence.database.0,
        namespace: sequence.namespace.clone(),
        name: sequence.name.clone(),
        type_oid: sequence.ty.oid().0,
        start: sequence.start,
        increment: sequence.increment,
        minimum: sequence.minimum,
        maximum: sequence.maximum,
        owner_table,
        owner_column,
        first: (sequence.first != sequence.start).then_some(sequence.first),
    }
    .encode_to_vec()
}

/// # Errors
/// When the bytes are not a sequence.
pub fn decode_sequence(bytes: &[u8]) -> Result<Arc<SequenceMeta>, FormError> {
    let form: SequenceForm = decode(bytes)?;
    Ok(Arc::new(SequenceMeta {
        id: SequenceId(form.id),
        database: DatabaseId(form.database),
        namespace: form.namespace,
        name: form.name,
        ty: type_from_wire(form.type_oid, -1),
        start: form.start,
        increment: form.increment,
        minimum: form.minimum,
        maximum: form.maximum,
        first: form.first.unwrap_or(form.start),
        owned_by: (form.owner_table != 0).then_some((TableId(form.owner_table), form.owner_column)),
    }))
}

/// The stored form of a database.
#[must_use]
pub fn encode_database(database: &DatabaseMeta) -> Vec<u8> {
    DatabaseForm {
        id: database.id.0,
        name: database.name.clone(),
        home_channel: database.home_channel.0,
        extensions: database.extensions.clone(),
    }
    .encode_to_vec()
}

/// # Errors
/// When the bytes are not a database.
pub fn decode_database(bytes: &[u8]) -> Result<Arc<DatabaseMeta>, FormError> {
    let form: DatabaseForm = decode(bytes)?;
    Ok(Arc::new(DatabaseMeta {
        id: DatabaseId(form.id),
        name: form.name,
        home_channel: ChannelId(form.home_channel),
        extensions: form.extensions,
    }))
}

/// The stored form of a schema.
#[must_use]
pub fn encode_namespace(namespace: &NamespaceMeta) -> Vec<u8> {
    NamespaceForm { oid: namespace.oid.0, database: namespace.database.0, name: namespace.name.clone() }
        .encode_to_vec()
}

/// # Errors
/// When the bytes are not a schema.
pub fn decode_namespace(bytes: &[u8]) -> Result<Arc<NamespaceMeta>, FormError> {
    let form: NamespaceForm = decode(bytes)?;
    Ok(Arc::new(NamespaceMeta { oid: Oid(form.oid), database: DatabaseId(form.database), name: form.name }))
}

/// The stored form of a comment.
#[must_use]
pub fn encode_comment(about: ObjectAddress, text: &str) -> Vec<u8> {
    let ObjectAddress { class, object, column } = about;
    CommentForm { class, object, column, text: text.to_owned() }.encode_to_vec()
}

/// # Errors
/// When the bytes are not a comment.
pub fn decode_comment(bytes: &[u8]) -> Result<(ObjectAddress, Arc<str>), FormError> {
    let CommentForm { class, object, column, text } = decode(bytes)?;
    Ok((ObjectAddress { class, object, column }, text.into()))
}
