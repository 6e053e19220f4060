//! `information_schema._pg_expandarray`: an array as rows of its elements and their numbers.
//!
//! A row is a `record`, which is carried as its text; the planner knows the two fields `x` and `n`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Int16Type};
use proto::{ErrorKind, SqlError};

use crate::functions::overload::{Call, PgFunction};

/// The functions of this module.
pub(super) fn functions() -> Vec<PgFunction> {
    vec![PgFunction::immutable("_pg_expandarray").on("int2[]", "record[]", expand)]
}

fn expand(call: &Call<'_>) -> Result<ArrayRef, SqlError> {
    let arrays = call.array(0)?;
    let (Some(lists), DataType::List(item)) = (arrays.as_list_opt::<i32>(), call.result_type()) else {
        return Err(SqlError::new(ErrorKind::Internal, "arrays are not carried by lists"));
    };
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Field::clone(item));
    for row in 0..call.rows() {
        if lists.is_null(row) {
            builder.append_null();
            continue;
        }
        let elements = lists.value(row);
        for (element, number) in elements.as_primitive::<Int16Type>().iter().zip(1..) {
            let element = element.map_or_else(String::new, |element| element.to_string());
            builder.values().append_value(format!("({element},{number})"));
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
