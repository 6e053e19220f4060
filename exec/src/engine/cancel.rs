//! A stream that ends with 57014 once its statement is canceled.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DfResult;
use datafusion::execution::RecordBatchStream;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::{Stream, StreamExt};

use crate::statement::CancelFlag;

struct UntilCanceled {
    inner: SendableRecordBatchStream,
    flag: CancelFlag,
}

/// The same stream, looking at the flag before every batch.
pub(super) fn until_canceled(
    inner: SendableRecordBatchStream,
    flag: CancelFlag,
) -> SendableRecordBatchStream {
    Box::pin(UntilCanceled { inner, flag })
}

impl Stream for UntilCanceled {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = self.flag.check() {
            return Poll::Ready(Some(Err(error)));
        }
        self.inner.poll_next_unpin(context)
    }
}

impl RecordBatchStream for UntilCanceled {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
