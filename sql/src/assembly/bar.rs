//! The progress bar of the offline commands: on standard error, and only to a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::StartError;

#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// An empty bar by indicatif's template.
    ///
    /// # Errors
    /// When the template is none.
    pub(super) fn new(template: &str) -> Result<Self, StartError> {
        let style = ProgressStyle::with_template(template)
            .map_err(|error| StartError::Unsupported(format!("progress bar: {error}")))?;
        Ok(Self(ProgressBar::new(0).with_style(style)))
    }

    pub(super) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Takes it off the terminal.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
