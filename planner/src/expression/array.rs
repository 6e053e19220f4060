//! ARRAY[…], subscripts and field access.

use datafusion::logical_expr::{Expr, lit};
use exec::functions::resolve::{CastContext, common_type};
use proto::{ColumnType, SqlError, TypeKind};
use sqlparser::ast::{self, AccessExpr, Subscript};

use super::coerce::carried_alike;
use crate::binder::{Binder, Bound};
use crate::calls;
use crate::environment::Env;
use crate::error::{At, Result, datatype_mismatch, unsupported};
use crate::names::fold;

impl Binder<'_> {
    pub(super) fn array(&self, elements: &[ast::Expr], env: &Env<'_>) -> Result<Bound> {
        if elements.is_empty() {
            return Err(SqlError::new(
                proto::ErrorKind::IndeterminateDatatype,
                "cannot determine type of empty array",
            )
            .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let elements = elements.iter().map(|element| self.bind(element, env)).collect::<Result<Vec<_>>>()?;
        let types: Vec<_> = elements.iter().map(Bound::known).collect();
        let element = common_type("ARRAY", &types)?;
        if element.array {
            return Err(unsupported("an array of arrays"));
        }
        let elements = elements
            .into_iter()
            .map(|bound| self.implicit(bound, element.without_typmod()).map(|bound| bound.expr))
            .collect::<Result<Vec<_>>>()?;
        let ty = ColumnType::array_of(element.kind);
        Ok(Bound::new(calls::make_array(carried_alike(elements, element.without_typmod())), ty))
    }

    pub(super) fn access(&self, root: &ast::Expr, chain: &[AccessExpr], env: &Env<'_>) -> Result<Bound> {
        let (mut bound, chain) = self.access_root(root, chain, env)?;
        for step in chain {
            if let AccessExpr::Dot(ast::Expr::Identifier(field)) = step
                && bound.ty == ColumnType::scalar(TypeKind::Record)
            {
                bound = record_field(bound, &fold(field)).at(field.span)?;
                continue;
            }
            let AccessExpr::Subscript(Subscript::Index { index }) = step else {
                return Err(match step {
                    AccessExpr::Dot(_) => unsupported("field access"),
                    AccessExpr::Subscript(_) => unsupported("an array slice"),
                });
            };
            // Subscripts of the catalogs' own vectors count from 0.
            let first = i32::from(!bound.ty.array);
            bound = self.as_array(bound)?;
            if !bound.ty.array {
                return Err(datatype_mismatch(format!(
                    "cannot subscript type {} because it does not support subscripting",
                    bound.ty.without_typmod().display()
                )));
            }
            let element = ColumnType { array: false, typmod: -1, ..bound.ty };
            let index = self.bind_to(index, ColumnType::INT4, env)?;
            let index = if first == 0 { index.expr } else { index.expr + lit(first) };
            let Some(function) = calls::scalar("array_element") else {
                return Err(unsupported("array subscripts"));
            };
            bound = Bound::new(calls::call(function, vec![bound.expr, index]), element);
        }
        Ok(bound)
    }

    /// What is accessed, and the steps into it: `table.column[1]` is parsed as two steps into `table`.
    fn access_root<'c>(
        &self,
        root: &ast::Expr,
        chain: &'c [AccessExpr],
        env: &Env<'_>,
    ) -> Result<(Bound, &'c [AccessExpr])> {
        let ast::Expr::Identifier(first) = root else { return Ok((self.bind(root, env)?, chain)) };
        let mut names = vec![first.clone()];
        names.extend(chain.iter().map_while(|step| match step {
            AccessExpr::Dot(ast::Expr::Identifier(name)) => Some(name.clone()),
            _ => None,
        }));
        Ok((env.scope.resolve(&names)?.bound, &chain[names.len() - 1..]))
    }

    /// `int2vector` and `oidvector` as the arrays they stand for; anything else as it is.
    pub(crate) fn as_array(&self, bound: Bound) -> Result<Bound> {
        match bound.ty.kind {
            TypeKind::Int2vector if !bound.ty.array => {
                self.implicit(bound, ColumnType::array_of(TypeKind::Int2))
            }
            TypeKind::Oidvector if !bound.ty.array => {
                self.implicit(bound, ColumnType::array_of(TypeKind::Oid))
            }
            _ => Ok(bound),
        }
    }

    /// The elements of an array that the text spells out, unbound types kept; `None` for other expressions.
    pub(super) fn spelled_elements(
        &self,
        expression: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Option<Vec<Bound>>> {
        match expression {
            ast::Expr::Array(array) => {
                array.elem.iter().map(|element| self.bind(element, env)).collect::<Result<Vec<_>>>().map(Some)
            }
            ast::Expr::Nested(inner) => self.spelled_elements(inner, env),
            _ => Ok(None),
        }
    }
}

/// A field of a record. Records come from one function, and are carried as their text.
fn record_field(record: Bound, field: &str) -> Result<Bound> {
    let (number, ty) = match field {
        "x" => (1, ColumnType::scalar(TypeKind::Int2)),
        "n" => (2, ColumnType::INT4),
        _ => {
            let message = format!("could not identify column \"{field}\" in record data type");
            return Err(SqlError::new(proto::ErrorKind::UndefinedColumn, message));
        }
    };
    let (Some(trim), Some(part)) = (calls::scalar("btrim"), calls::scalar("split_part")) else {
        return Err(unsupported("field access"));
    };
    let inner = calls::call(trim, vec![record.expr, lit("()")]);
    let text = calls::call(part, vec![inner, lit(","), lit(number)]);
    Ok(Bound::new(exec::functions::cast::cast(text, ty, CastContext::Explicit), ty))
}

/// An empty array of a type, for `ARRAY[]::int[]`.
pub(super) fn empty_array(ty: ColumnType) -> Expr {
    let text = Expr::Literal(datafusion::common::ScalarValue::Utf8(Some("{}".to_owned())), None);
    exec::functions::cast::cast(text, ty, CastContext::Explicit)
}
