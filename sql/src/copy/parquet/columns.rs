//! Which column of a file goes where, and its values in the table's type.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, SchemaRef};
use exec::functions::cast::cast_array;
use exec::functions::resolve::{CastContext, cast_context};
use exec::text::InputContext;
use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::{types, vectors};
use crate::decode::column_of_texts;

/// A column of the file and what it becomes.
#[derive(Clone, Debug)]
pub(super) struct FileColumn {
    /// The table's name for it.
    pub(super) name: String,
    /// Its position among the file's columns.
    pub(super) root: usize,
    /// Its position in the batches that are read.
    pub(super) position: usize,
    ty: ColumnType,
    way: Way,
}

/// How values become the table's.
#[derive(Clone, Debug)]
enum Way {
    /// Lists of numbers, as vectors.
    Vectors,
    /// Texts, read as the type's text form.
    Texts,
    /// The assignment cast from the type that carries them, after a plain Arrow form.
    Cast { plain: DataType, from: ColumnType },
}

/// Finds the file's column for each of the table's.
///
/// # Errors
/// 22P04 when one is missing or, unless the statement lists columns, the file has another; 42804 for a type that
/// cannot become the table's.
pub(super) fn matched(
    file: &SchemaRef,
    wanted: &SchemaRef,
    listed: bool,
    table: &str,
) -> Result<Vec<FileColumn>, SqlError> {
    let mut roots = Vec::with_capacity(wanted.fields().len());
    for field in wanted.fields() {
        roots.push(position(file, field.name()).ok_or_else(|| missing(file, field.name(), listed))?);
    }
    if !listed && let Some(extra) = (0..file.fields().len()).find(|root| !roots.contains(root)) {
        let name = file.field(extra).name();
        return Err(SqlError::new(ErrorKind::BadCopyFileFormat, "extra data after last expected column")
            .with_detail(format!("Column \"{name}\" of the file is not a column of table \"{table}\"."))
            .with_hint("Name the columns that are to be read: COPY table (column, …) FROM …"));
    }
    let mut sorted = roots.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let columns = wanted.fields().iter().zip(&roots).map(|(field, &root)| {
        let ty = ColumnType::of_field(field);
        let found = file.field(root).data_type();
        let way = way(found, ty).ok_or_else(|| mismatch(field.name(), ty, found))?;
        let position = sorted.binary_search(&root).unwrap_or(0);
        Ok(FileColumn { name: field.name().clone(), root, position, ty, way })
    });
    columns.collect()
}

/// By its exact name, or by the only one that differs in case alone.
fn position(file: &SchemaRef, name: &str) -> Option<usize> {
    let fields = file.fields();
    fields.iter().position(|field| field.name() == name).or_else(|| {
        let mut alike = (0..fields.len()).filter(|&at| fields[at].name().eq_ignore_ascii_case(name));
        let only = alike.next();
        only.filter(|_| alike.next().is_none())
    })
}

fn missing(file: &SchemaRef, name: &str, listed: bool) -> SqlError {
    let names: Vec<_> = file.fields().iter().map(|field| field.name().as_str()).collect();
    let error = SqlError::new(ErrorKind::BadCopyFileFormat, format!("missing data for column \"{name}\""))
        .with_detail(format!("The file has the columns {}.", names.join(", ")));
    if listed {
        return error;
    }
    error.with_hint("Name the columns that are to be read: COPY table (column, …) FROM …")
}

fn mismatch(name: &str, ty: ColumnType, found: &DataType) -> SqlError {
    SqlError::new(
        ErrorKind::DatatypeMismatch,
        format!(
            "column \"{name}\" is of type {} but the file's column is of Parquet type {}",
            ty.display(),
            types::described(found)
        ),
    )
    .with_column(name)
}

fn way(found: &DataType, ty: ColumnType) -> Option<Way> {
    if ty.kind == TypeKind::Vector && !ty.array && types::is_list(found) {
        return types::is_list_of_numbers(found).then_some(Way::Vectors);
    }
    let (plain, from) = types::carried(found, ty)?;
    if from.kind == TypeKind::Text && !from.array {
        return Some(Way::Texts);
    }
    let textual = |ty: ColumnType| {
        matches!(ty.kind, TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name)
    };
    // Into text goes text alone: what else it would look like is for the query to say.
    let allowed = match cast_context(from, ty) {
        Some(CastContext::Implicit | CastContext::Assignment) => !textual(ty) || textual(from),
        _ => *found == DataType::Null,
    };
    allowed.then_some(Way::Cast { plain, from })
}

impl FileColumn {
    /// Values of the file as the table's type carries them.
    ///
    /// # Errors
    /// What the type does not take.
    pub(super) fn convert(&self, array: &ArrayRef, context: &InputContext) -> Result<ArrayRef, SqlError> {
        match &self.way {
            Way::Vectors => vectors::convert(array, self.ty),
            Way::Texts => {
                let texts = types::to_plain(array, &DataType::Utf8)?;
                let texts = arrow::array::AsArray::as_string::<i32>(&texts);
                if texts.values().contains(&0) && texts.iter().flatten().any(|text| text.contains('\0')) {
                    return Err(SqlError::new(
                        ErrorKind::CharacterNotInRepertoire,
                        "invalid byte sequence for encoding \"UTF8\": 0x00",
                    ));
                }
                column_of_texts(texts, self.ty, context)
            }
            Way::Cast { plain, from } => {
                let array = types::to_plain(array, plain)?;
                if array.null_count() == array.len() {
                    return Ok(arrow::array::new_null_array(&self.ty.data_type(), array.len()));
                }
                cast_array(&array, *from, self.ty, false, context)
            }
        }
    }
}
