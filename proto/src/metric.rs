//! The distance metrics and pgvector's vocabulary for them: the single table of operators and names.
//!
//! What it is not: no arithmetic (that is `segments::distance`).

/// How far apart two vectors are; smaller is nearer for every metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DistanceMetric {
    /// Euclidean distance, `<->`.
    L2,
    /// Negative inner product, `<#>`.
    InnerProduct,
    /// One minus the cosine of the angle, `<=>`; NaN when a vector is zero.
    Cosine,
    /// Sum of absolute differences, `<+>`.
    L1,
}

impl DistanceMetric {
    /// Every metric on `vector`.
    pub const ALL: [Self; 4] = [Self::L2, Self::InnerProduct, Self::Cosine, Self::L1];

    /// The SQL operator.
    #[must_use]
    pub const fn operator(self) -> &'static str {
        match self {
            Self::L2 => "<->",
            Self::InnerProduct => "<#>",
            Self::Cosine => "<=>",
            Self::L1 => "<+>",
        }
    }

    /// The SQL function that computes exactly what the operator does.
    #[must_use]
    pub const fn operator_function(self) -> &'static str {
        match self {
            Self::L2 => "l2_distance",
            Self::InnerProduct => "vector_negative_inner_product",
            Self::Cosine => "cosine_distance",
            Self::L1 => "l1_distance",
        }
    }

    /// pgvector's operator class on `vector`.
    #[must_use]
    pub const fn operator_class(self) -> &'static str {
        match self {
            Self::L2 => "vector_l2_ops",
            Self::InnerProduct => "vector_ip_ops",
            Self::Cosine => "vector_cosine_ops",
            Self::L1 => "vector_l1_ops",
        }
    }

    /// The metric of an operator's text.
    #[must_use]
    pub fn from_operator(operator: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.operator() == operator)
    }
}
