use std::sync::Arc;

use proto::RowId;
use proto::record::{RowDelete, RowRef};

use super::*;
use crate::log::MemoryLog;
use crate::testing::{Bench, Form};

mod commits;
mod compaction;
mod crashes;
mod disk;
mod flush;
mod recovery;
mod staging;
