//! A session as a task of an executor.

use core::future::poll_fn;
use core::pin::pin;

use embassy_futures::yield_now;
use futures_core::Stream;

use crate::error::RowError;
use crate::kernels::Backend;
use crate::logits::Logits;
use crate::session::{Session, Step};
use crate::weights::Weights;

impl<B: Backend, W: Weights> Session<'_, '_, B, W> {
    /// Classifies one image, whose rows come from a stream: columns × channels bytes each.
    ///
    /// After each [`step`](Self::step) the other tasks of the executor have their turn. While the
    /// network needs a row, the task sleeps until the stream has one. Images are thus captured
    /// while the network runs, and no task waits longer than one step takes.
    ///
    /// An unfinished image is dropped. If the future is dropped, so is its image: the next call
    /// begins another.
    ///
    /// ```
    /// # use brooklet::{Arena, Model, Session, kernels::Portable};
    /// # const MODEL: &[u8] = brooklet::include_model!("tests/golden/tiny.brook");
    /// # let mut arena = Arena::<{ brooklet::arena_bytes(MODEL) }>::new();
    /// # let model = Model::parse(MODEL).unwrap();
    /// # let mut session = Session::new(&model, Portable, &mut arena).unwrap();
    /// # let image = vec![vec![100u8; 24]; 8];
    /// # embassy_futures::block_on(async {
    /// let camera = futures_util::stream::iter(&image);
    /// let logits = session.run(camera).await?;
    /// println!("class {}", logits.top_k::<1>()[0].class);
    /// # Ok::<(), brooklet::RowError>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`RowError::Length`] if a row has a wrong length; [`RowError::Missing`] if the stream ends
    /// before the image does. Rows after the end of the image stay in the stream. [`RowError::Map`]
    /// if the output is no vector: the image has run then, and [`map`](Self::map) returns the
    /// results.
    pub async fn run<R: AsRef<[u8]>>(
        &mut self,
        rows: impl Stream<Item = R>,
    ) -> Result<Logits<'_>, RowError> {
        let mut rows = pin!(rows);
        self.reset();
        loop {
            match self.step() {
                Step::Ran { .. } => yield_now().await,
                Step::NeedsRow => match poll_fn(|context| rows.as_mut().poll_next(context)).await {
                    Some(row) => self.push_row(row.as_ref())?,
                    None => break,
                },
                Step::Done => break,
            }
        }
        self.logits()
    }
}
