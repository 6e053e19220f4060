//! Tests of whole statements: text to plan, plan to rows on exec's engine over rows in memory.

mod golden;
mod plans;
mod world;
