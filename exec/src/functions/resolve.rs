//! PostgreSQL's choice among overloads: exact types first, then implicit casts, then preferred types; unknown
//! literals take what fits. Also the common type of CASE, UNION, VALUES and comparisons.

use proto::{ColumnType, ErrorKind, SqlError, TypeKind};

use super::signature::{Parameter, Signature};

/// When a cast may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CastContext {
    /// By itself, in any expression.
    Implicit,
    /// When a value goes into a column.
    Assignment,
    /// Only where it is written.
    Explicit,
}

/// The chosen overload: argument types to cast to, and the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub arguments: Vec<ColumnType>,
    pub result: ColumnType,
}

/// PostgreSQL's type categories, as far as our types go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Boolean,
    Numeric,
    Text,
    DateTime,
    TimeSpan,
    Array,
    User,
}

fn category(ty: ColumnType) -> Category {
    if ty.array {
        return Category::Array;
    }
    match ty.kind {
        TypeKind::Bool => Category::Boolean,
        TypeKind::Int2
        | TypeKind::Int4
        | TypeKind::Int8
        | TypeKind::Float4
        | TypeKind::Float8
        | TypeKind::Numeric
        | TypeKind::Oid
        | TypeKind::Regproc
        | TypeKind::Regprocedure
        | TypeKind::Regoper
        | TypeKind::Regoperator
        | TypeKind::Regclass
        | TypeKind::Regtype
        | TypeKind::Regnamespace
        | TypeKind::Regrole
        | TypeKind::Regcollation => Category::Numeric,
        TypeKind::Text
        | TypeKind::Varchar
        | TypeKind::Bpchar
        | TypeKind::Name
        | TypeKind::Char
        | TypeKind::Unknown => Category::Text,
        TypeKind::Date | TypeKind::Time | TypeKind::Timestamp | TypeKind::Timestamptz => Category::DateTime,
        TypeKind::Interval => Category::TimeSpan,
        TypeKind::Int2vector | TypeKind::Oidvector => Category::Array,
        TypeKind::Bytea
        | TypeKind::Xid
        | TypeKind::PgNodeTree
        | TypeKind::Aclitem
        | TypeKind::Json
        | TypeKind::Jsonb
        | TypeKind::Record
        | TypeKind::Void
        | TypeKind::Uuid
        | TypeKind::Vector => Category::User,
    }
}

/// The types that PostgreSQL prefers within their category.
const fn is_preferred(ty: ColumnType) -> bool {
    !ty.array
        && matches!(
            ty.kind,
            TypeKind::Bool
                | TypeKind::Float8
                | TypeKind::Oid
                | TypeKind::Text
                | TypeKind::Timestamptz
                | TypeKind::Interval
        )
}

pub(crate) const fn is_oid_like(kind: TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Oid
            | TypeKind::Regproc
            | TypeKind::Regprocedure
            | TypeKind::Regoper
            | TypeKind::Regoperator
            | TypeKind::Regclass
            | TypeKind::Regtype
            | TypeKind::Regnamespace
            | TypeKind::Regrole
            | TypeKind::Regcollation
    )
}

/// The rank of plain numbers in implicit widening; none for other types.
const fn number_rank(kind: TypeKind) -> Option<u8> {
    match kind {
        TypeKind::Int2 => Some(0),
        TypeKind::Int4 => Some(1),
        TypeKind::Int8 => Some(2),
        TypeKind::Numeric => Some(3),
        TypeKind::Float4 => Some(4),
        TypeKind::Float8 => Some(5),
        _ => None,
    }
}

/// Whether a cast exists and may happen in a context.
#[must_use]
pub fn can_cast(from: ColumnType, to: ColumnType, context: CastContext) -> bool {
    cast_context(from, to).is_some_and(|needed| needed <= context)
}

/// The least context in which a cast happens; none when there is no such cast.
#[must_use]
pub fn cast_context(from: ColumnType, to: ColumnType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    if Signature::same(from, to) || from.kind == TypeKind::Unknown && !from.array {
        return Some(Implicit);
    }
    if from.array || to.array {
        return array_cast_context(from, to);
    }
    if let (Some(left), Some(right)) = (number_rank(from.kind), number_rank(to.kind)) {
        return Some(if left <= right { Implicit } else { Assignment });
    }
    match (from.kind, to.kind) {
        (TypeKind::Int2 | TypeKind::Int4 | TypeKind::Int8, to) if is_oid_like(to) => Some(Implicit),
        (from, to) if is_oid_like(from) && is_oid_like(to) => {
            (from == TypeKind::Oid || to == TypeKind::Oid).then_some(Implicit)
        }
        (from, TypeKind::Int4 | TypeKind::Int8) if is_oid_like(from) => Some(Assignment),
        (TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name, TypeKind::Text)
        | (TypeKind::Text | TypeKind::Bpchar, TypeKind::Varchar)
        | (TypeKind::Text | TypeKind::Varchar, TypeKind::Bpchar | TypeKind::Name | TypeKind::Regclass)
        | (TypeKind::Char | TypeKind::PgNodeTree, TypeKind::Text)
        | (TypeKind::Bpchar, TypeKind::Name)
        | (TypeKind::Date, TypeKind::Timestamp | TypeKind::Timestamptz)
        | (TypeKind::Timestamp, TypeKind::Timestamptz)
        | (TypeKind::Time, TypeKind::Interval) => Some(Implicit),
        (TypeKind::Timestamp | TypeKind::Timestamptz, TypeKind::Date | TypeKind::Time)
        | (TypeKind::Timestamptz, TypeKind::Timestamp)
        | (TypeKind::Interval, TypeKind::Time)
        | (_, TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name) => Some(Assignment),
        (TypeKind::Bool, TypeKind::Int4)
        | (TypeKind::Int4, TypeKind::Bool)
        | (TypeKind::Text | TypeKind::Varchar | TypeKind::Bpchar | TypeKind::Name | TypeKind::Char, _) => {
            Some(Explicit)
        }
        _ => None,
    }
}

fn array_cast_context(from: ColumnType, to: ColumnType) -> Option<CastContext> {
    match (from.array, to.array) {
        (true, true) => cast_context(ColumnType { array: false, ..from }, ColumnType { array: false, ..to }),
        (true, false) if to.kind == TypeKind::Vector => match from.kind {
            TypeKind::Int4 | TypeKind::Float4 | TypeKind::Float8 | TypeKind::Numeric => {
                Some(CastContext::Assignment)
            }
            _ => None,
        },
        (false, true) if from.kind == TypeKind::Vector => {
            (to.kind == TypeKind::Float4).then_some(CastContext::Implicit)
        }
        (true, false) => category_is_text(to).then_some(CastContext::Assignment),
        (false, true) if from.kind == TypeKind::Int2vector => {
            (to.kind == TypeKind::Int2).then_some(CastContext::Implicit)
        }
        (false, true) if from.kind == TypeKind::Oidvector => {
            (to.kind == TypeKind::Oid).then_some(CastContext::Implicit)
        }
        (false, true) => category_is_text(from).then_some(CastContext::Explicit),
        (false, false) => None,
    }
}

fn category_is_text(ty: ColumnType) -> bool {
    category(ty) == Category::Text
}

/// Picks an overload for argument types; none stands for an unknown literal, NULL or untyped parameter.
///
/// # Errors
/// 42883 when nothing fits, 42725 when several fit equally well.
pub fn choose<'a>(
    name: &str,
    signatures: impl Iterator<Item = &'a Signature>,
    types: &[Option<ColumnType>],
) -> Result<Choice, SqlError> {
    if types.iter().all(Option::is_none) && HALFVEC_TWINS.contains(&name) {
        return Err(not_unique(name, types));
    }
    let mut candidates: Vec<&Signature> =
        signatures.filter(|signature| signature.takes(types.len()) && fits(signature, types)).collect();
    keep_best(&mut candidates, |signature| score(signature, types, false));
    keep_best(&mut candidates, |signature| score(signature, types, true));
    if candidates.len() > 1 {
        prefer_for_unknown(&mut candidates, types);
    }
    match candidates.as_slice() {
        [] => Err(no_such_function_for(name, types)),
        [only] => Ok(settle(only, types)),
        _ => Err(not_unique(name, types)),
    }
}

/// Names that pgvector also gives to functions on its other types: unknown arguments alone decide nothing.
const HALFVEC_TWINS: [&str; 11] = [
    "l2_distance",
    "inner_product",
    "cosine_distance",
    "l1_distance",
    "vector_dims",
    "l2_normalize",
    "subvector",
    "<->",
    "<#>",
    "<=>",
    "<+>",
];

fn not_unique(name: &str, types: &[Option<ColumnType>]) -> SqlError {
    SqlError::new(ErrorKind::AmbiguousFunction, format!("function {name}({}) is not unique", listed(types)))
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

/// Picks an operator's overload; one unknown side is first taken to be of the other side's type.
///
/// # Errors
/// 42883 and 42725 in the words PostgreSQL has for operators.
pub fn choose_operator<'a>(
    operator: &str,
    signatures: impl Iterator<Item = &'a Signature> + Clone,
    types: &[Option<ColumnType>],
) -> Result<Choice, SqlError> {
    if let [Some(known), None] | [None, Some(known)] = types {
        let assumed = [Some(*known), Some(*known)];
        let exact =
            signatures.clone().find(|signature| signature.takes(2) && score(signature, &assumed, false) == 2);
        if let Some(signature) = exact {
            return Ok(settle(signature, &assumed));
        }
    }
    choose(operator, signatures, types).map_err(|error| match error.kind {
        ErrorKind::AmbiguousFunction => {
            SqlError::new(error.kind, format!("operator is not unique: {}", infix(operator, types)))
                .with_hint(
                    "Could not choose a best candidate operator. You might need to add explicit type casts.",
                )
        }
        _ => no_such_operator(operator, types),
    })
}

/// 42883 for an operator.
#[must_use]
pub fn no_such_operator(operator: &str, types: &[Option<ColumnType>]) -> SqlError {
    SqlError::new(
        ErrorKind::UndefinedFunction,
        format!("operator does not exist: {}", infix(operator, types)),
    )
    .with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

fn infix(operator: &str, types: &[Option<ColumnType>]) -> String {
    match types {
        [left, right] => format!("{} {operator} {}", shown(*left), shown(*right)),
        _ => format!("{operator} {}", listed(types)),
    }
}

/// 42883 for a function called with known types.
#[must_use]
pub fn no_such_function(name: &str, types: &[ColumnType]) -> SqlError {
    no_such_function_for(name, &types.iter().copied().map(Some).collect::<Vec<_>>())
}

/// 42883 for a function.
#[must_use]
pub fn no_such_function_for(name: &str, types: &[Option<ColumnType>]) -> SqlError {
    SqlError::new(ErrorKind::UndefinedFunction, format!("function {name}({}) does not exist", listed(types)))
        .with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )
}

fn listed(types: &[Option<ColumnType>]) -> String {
    types.iter().map(|ty| shown(*ty)).collect::<Vec<_>>().join(", ")
}

fn shown(ty: Option<ColumnType>) -> String {
    ty.map_or_else(|| "unknown".to_owned(), |ty| ty.without_typmod().display())
}

fn fits(signature: &Signature, types: &[Option<ColumnType>]) -> bool {
    let mut element: Option<ColumnType> = None;
    types.iter().enumerate().all(|(position, ty)| {
        let (Some(parameter), Some(ty)) = (signature.parameter(position), ty) else { return true };
        match parameter {
            Parameter::Is(wanted) => can_cast(*ty, wanted, CastContext::Implicit),
            Parameter::Any => true,
            Parameter::Array if !ty.array => false,
            Parameter::Element | Parameter::Array => {
                let found = ColumnType { array: parameter == Parameter::Element && ty.array, ..*ty };
                let agreed = element
                    .is_none_or(|seen| Signature::same(seen, found) || common_of(seen, found).is_some());
                element = element.and_then(|seen| common_of(seen, found)).or(Some(found));
                agreed
            }
        }
    })
}

/// How many known arguments match exactly, or (`preferred`) exactly or as a preferred type of the category.
fn score(signature: &Signature, types: &[Option<ColumnType>], preferred: bool) -> usize {
    types
        .iter()
        .enumerate()
        .filter(|(position, ty)| match (signature.parameter(*position), ty) {
            (Some(Parameter::Is(wanted)), Some(ty)) => {
                Signature::same(wanted, *ty)
                    || (preferred && is_preferred(wanted) && category(wanted) == category(*ty))
            }
            _ => false,
        })
        .count()
}

fn keep_best(candidates: &mut Vec<&Signature>, score: impl Fn(&Signature) -> usize) {
    let best = candidates.iter().map(|signature| score(signature)).max().unwrap_or(0);
    candidates.retain(|signature| score(signature) == best);
}

/// At unknown arguments text wins, else the one category all candidates share, there the preferred type.
fn prefer_for_unknown(candidates: &mut Vec<&Signature>, types: &[Option<ColumnType>]) {
    for (position, ty) in types.iter().enumerate() {
        if ty.is_some() {
            continue;
        }
        let wanted = |signature: &Signature| match signature.parameter(position) {
            Some(Parameter::Is(ty)) => Some(ty),
            _ => None,
        };
        let is_text = |signature: &&Signature| wanted(signature).is_some_and(category_is_text);
        if candidates.iter().any(is_text) {
            candidates.retain(is_text);
            continue;
        }
        let categories: Vec<_> = candidates.iter().map(|s| wanted(s).map(category)).collect();
        if categories.windows(2).all(|pair| pair[0] == pair[1])
            && candidates.iter().any(|s| wanted(s).is_some_and(is_preferred))
        {
            candidates.retain(|s| wanted(s).is_some_and(is_preferred));
        }
    }
    // PostgreSQL's last step: all known arguments are of one type, so unknown ones are taken to be of it.
    if candidates.len() > 1 {
        let mut known = types.iter().flatten();
        if let Some(first) = known.next()
            && known.all(|ty| Signature::same(*ty, *first))
        {
            let assumed = vec![Some(*first); types.len()];
            keep_best(candidates, |signature| score(signature, &assumed, false));
        }
    }
}

/// The types to cast to once an overload is chosen.
fn settle(signature: &Signature, types: &[Option<ColumnType>]) -> Choice {
    let elements: Vec<Option<ColumnType>> = types
        .iter()
        .enumerate()
        .filter_map(|(position, ty)| match signature.parameter(position) {
            Some(Parameter::Element) => Some(*ty),
            Some(Parameter::Array) => Some(ty.map(|ty| ColumnType { array: false, ..ty })),
            _ => None,
        })
        .collect();
    let element = common_type("anyelement", &elements).unwrap_or(ColumnType::TEXT);
    let arguments: Vec<ColumnType> = types
        .iter()
        .enumerate()
        .map(|(position, ty)| match signature.parameter(position) {
            Some(Parameter::Is(wanted)) => match ty {
                // Keep modifiers: vector(3) stays a fixed-size list.
                Some(ty) if Signature::same(*ty, wanted) => *ty,
                _ => wanted,
            },
            Some(Parameter::Element) => element,
            Some(Parameter::Array) => ColumnType { array: true, ..element },
            _ => ty.unwrap_or(ColumnType::scalar(TypeKind::Unknown)),
        })
        .collect();
    let result = signature.result_type(&arguments);
    Choice { arguments, result }
}

/// The type that two known types meet in.
fn common_of(left: ColumnType, right: ColumnType) -> Option<ColumnType> {
    if left == right {
        return Some(left);
    }
    if Signature::same(left, right) {
        return Some(left.without_typmod());
    }
    if category(left) != category(right) {
        return None;
    }
    if !is_preferred(left) && can_cast(left, right, CastContext::Implicit) {
        return Some(right.without_typmod());
    }
    if can_cast(right, left, CastContext::Implicit) {
        return Some(left.without_typmod());
    }
    can_cast(left, right, CastContext::Implicit).then(|| right.without_typmod())
}

/// The common type of CASE branches, UNION columns, VALUES rows, IN lists and compared values; text when all
/// are unknown.
///
/// # Errors
/// 42804 `<what> types <a> and <b> cannot be matched`.
pub fn common_type(what: &str, types: &[Option<ColumnType>]) -> Result<ColumnType, SqlError> {
    let mut known = types.iter().flatten().copied();
    let Some(first) = known.next() else { return Ok(ColumnType::TEXT) };
    known.try_fold(first, |common, next| {
        common_of(common, next).ok_or_else(|| {
            SqlError::new(
                ErrorKind::DatatypeMismatch,
                format!(
                    "{what} types {} and {} cannot be matched",
                    common.without_typmod().display(),
                    next.without_typmod().display()
                ),
            )
        })
    })
}

#[cfg(test)]
mod tests;
