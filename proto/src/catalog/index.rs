//! Vector indexes as the catalog knows them: what is indexed, how, and the bounds of every option.
//!
//! What it is not: no index data and no progress; those belong to the segments that the index covers.
//!
//! Invariant: the options of an `IndexMethod` are inside their bounds, defaults filled in.

use crate::id::Oid;
use crate::metric::DistanceMetric;

/// A vector index over one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexMeta {
    pub oid: Oid,
    pub name: String,
    /// Id of the indexed column.
    pub column: u32,
    pub metric: DistanceMetric,
    pub method: IndexMethod,
    /// The options that were written in WITH, `name=value`, as pg_class.reloptions shows them.
    pub written_options: Vec<String>,
}

/// The structure of an index and its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexMethod {
    /// A layered proximity graph.
    Hnsw {
        /// Neighbours per node and layer; twice as many in the lowest.
        m: u32,
        /// Candidates looked at when a node is linked.
        ef_construction: u32,
    },
    /// Rows grouped around centroids.
    IvfFlat {
        /// Number of groups.
        lists: u32,
    },
}

/// Why the options of an index are refused; the words are PostgreSQL's and pgvector's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexOptionError {
    #[error("unrecognized parameter \"{0}\"")]
    Unrecognized(String),
    #[error("parameter \"{0}\" specified more than once")]
    Repeated(String),
    #[error("invalid value for integer option \"{name}\": {value}")]
    NotInteger { name: String, value: String },
    #[error("value {value} out of bounds for option \"{name}\"")]
    OutOfBounds { name: String, value: String, low: i64, high: i64 },
    #[error("ef_construction must be greater than or equal to 2 * m")]
    EfConstructionTooSmall,
}

impl IndexOptionError {
    /// PostgreSQL's DETAIL.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::OutOfBounds { low, high, .. } => {
                Some(format!("Valid values are between \"{low}\" and \"{high}\"."))
            }
            _ => None,
        }
    }
}

/// An option: name, default, lowest, highest.
type OptionBounds = (&'static str, u32, i64, i64);

const HNSW: [OptionBounds; 2] = [("m", 16, 2, 100), ("ef_construction", 64, 4, 1000)];
const IVF_FLAT: [OptionBounds; 1] = [("lists", 100, 1, 32768)];

impl IndexMethod {
    /// Names of the access methods.
    pub const NAMES: [&'static str; 2] = ["hnsw", "ivfflat"];

    /// The access method's SQL name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hnsw { .. } => Self::NAMES[0],
            Self::IvfFlat { .. } => Self::NAMES[1],
        }
    }

    /// A method with the options written in WITH; `None` when no method has the name.
    ///
    /// # Errors
    /// When an option is unknown, repeated, no integer or out of bounds.
    pub fn parse(name: &str, options: &[(String, String)]) -> Result<Option<Self>, IndexOptionError> {
        match name {
            "hnsw" => {
                let [m, ef_construction] = read(HNSW, options)?;
                if ef_construction < 2 * m {
                    return Err(IndexOptionError::EfConstructionTooSmall);
                }
                Ok(Some(Self::Hnsw { m, ef_construction }))
            }
            "ivfflat" => {
                let [lists] = read(IVF_FLAT, options)?;
                Ok(Some(Self::IvfFlat { lists }))
            }
            _ => Ok(None),
        }
    }

    /// Whether the method has an operator class for a metric.
    #[must_use]
    pub fn supports(self, metric: DistanceMetric) -> bool {
        match self {
            Self::Hnsw { .. } => true,
            Self::IvfFlat { .. } => metric != DistanceMetric::L1,
        }
    }

    /// The metric of an index whose operator class was not written, where the method has a default.
    #[must_use]
    pub const fn default_metric(self) -> Option<DistanceMetric> {
        match self {
            Self::Hnsw { .. } => None,
            Self::IvfFlat { .. } => Some(DistanceMetric::L2),
        }
    }
}

fn read<const N: usize>(
    known: [OptionBounds; N],
    options: &[(String, String)],
) -> Result<[u32; N], IndexOptionError> {
    let mut values = known.map(|(_, default, _, _)| default);
    for (position, (name, value)) in options.iter().enumerate() {
        let Some(at) = known.iter().position(|(option, ..)| option == name) else {
            return Err(IndexOptionError::Unrecognized(name.clone()));
        };
        if options[..position].iter().any(|(earlier, _)| earlier == name) {
            return Err(IndexOptionError::Repeated(name.clone()));
        }
        let (_, _, low, high) = known[at];
        let (name, value) = (name.clone(), value.clone());
        let Ok(number) = value.parse::<i64>() else {
            return Err(IndexOptionError::NotInteger { name, value });
        };
        if number < low || number > high {
            return Err(IndexOptionError::OutOfBounds { name, value, low, high });
        }
        values[at] = number as u32;
    }
    Ok(values)
}
