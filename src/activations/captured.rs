//! Rows put together by dialogue.

use candor_schema::HookPoint;

use crate::{Error, Token, TokenBatch, TokenBatches};

/// All stored rows of one dialogue.
#[derive(Debug, Clone, PartialEq)]
pub struct CapturedDialogue {
    /// The dialogue's id.
    pub id: String,
    /// Its stored tokens, in order.
    pub tokens: Vec<Token>,
    /// One block `[token, width]`, row by row, per hook point asked for, in the order asked.
    pub vectors: Vec<(HookPoint, Vec<f32>)>,
}

/// A store's dialogues, one at a time, in the order of the plan. After an error it ends.
#[derive(Debug)]
pub struct CapturedDialogues<'s> {
    batches: TokenBatches<'s>,
    hook_points: Vec<HookPoint>,
    /// The batch being cut up, and its first row that is not given out.
    batch: Option<(TokenBatch, usize)>,
}

impl<'s> CapturedDialogues<'s> {
    pub(crate) fn new(batches: TokenBatches<'s>, hook_points: Vec<HookPoint>) -> Self {
        Self {
            batches,
            hook_points,
            batch: None,
        }
    }

    fn next_dialogue(&mut self) -> Result<Option<CapturedDialogue>, Error> {
        let mut dialogue: Option<CapturedDialogue> = None;
        loop {
            let (batch, start) = match self.batch.take() {
                Some((batch, start)) if start < batch.tokens().len() => (batch, start),
                _ => match self.batches.next().transpose()? {
                    Some(batch) => (batch, 0),
                    None => return Ok(dialogue),
                },
            };
            let end = match batch
                .dialogues()
                .into_iter()
                .find(|(_, rows)| rows.contains(&start))
            {
                Some((id, rows)) => {
                    let current = dialogue.get_or_insert_with(|| self.empty(id));
                    if current.id == id {
                        current.extend(&batch, start, rows.end);
                        rows.end
                    } else {
                        start
                    }
                }
                None => continue,
            };
            let is_cut = end < batch.tokens().len();
            self.batch = Some((batch, end));
            if is_cut {
                return Ok(dialogue);
            }
        }
    }

    fn empty(&self, id: &str) -> CapturedDialogue {
        let block = |&hook_point| (hook_point, Vec::new());
        CapturedDialogue {
            id: id.to_owned(),
            tokens: Vec::new(),
            vectors: self.hook_points.iter().map(block).collect(),
        }
    }
}

impl Iterator for CapturedDialogues<'_> {
    type Item = Result<CapturedDialogue, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_dialogue().transpose()
    }
}

impl CapturedDialogue {
    fn extend(&mut self, batch: &TokenBatch, start: usize, end: usize) {
        self.tokens.extend_from_slice(&batch.tokens()[start..end]);
        for (hook_point, block) in &mut self.vectors {
            let values = batch.vectors(*hook_point).expect("it was asked for");
            let width = batch.width(*hook_point).expect("it was asked for");
            block.extend_from_slice(&values[start * width..end * width]);
        }
    }
}
