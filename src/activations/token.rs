//! A token's own columns, and the Arrow form of a part's rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use candor_schema::Segment;

use crate::{HookPointWidth, Positions};

/// Key of a vector column's field metadata that holds the hook point's name.
pub(crate) const HOOK_POINT_KEY: &str = "hook_point";

/// One stored token without its vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// Index of the message that the token is part of; -1 for text outside of all messages.
    pub message: i32,
    /// Index in the rendered dialogue, from 0; grows along a dialogue's rows.
    pub token_index: u32,
    /// Index in the model's vocabulary.
    pub token_id: u32,
    /// What the token is part of.
    pub segment: Segment,
    /// Whether it is part of the scored assistant turn.
    pub in_response: bool,
    /// Whether it overlaps a labelled span.
    pub in_span: bool,
    /// Distance to the response's last token, which has 0; none outside of the response.
    pub from_end: Option<u32>,
    /// The model's log-probability (nats) of this token given what precedes it; none for the first.
    pub logprob: Option<f32>,
    /// Entropy (nats) of the prediction made before this token; none for the first.
    pub entropy: Option<f32>,
}

/// A rule of [`Token`] that is broken: the column and the problem.
pub(crate) type TokenProblem = (&'static str, String);

impl Token {
    /// Checks the token by itself and against the one before it.
    pub(crate) fn check(
        &self,
        previous: Option<&Self>,
        positions: Positions,
    ) -> Result<(), TokenProblem> {
        if self.message < -1 {
            let problem = format!("is {} (expected -1 or an index)", self.message);
            return Err(("message", problem));
        }
        for (column, value) in [
            ("token_index", Some(self.token_index)),
            ("token_id", Some(self.token_id)),
            ("from_end", self.from_end),
        ] {
            if value.is_some_and(|value| i32::try_from(value).is_err()) {
                return Err((column, format!("is larger than {}", i32::MAX)));
            }
        }
        if let Some(previous) = previous
            && previous.token_index >= self.token_index
        {
            let problem = format!("is {} after {}", self.token_index, previous.token_index);
            return Err(("token_index", problem));
        }
        if positions == Positions::Response && !self.in_response {
            let problem = "is false, but the plan stores responses only".to_owned();
            return Err(("in_response", problem));
        }
        Ok(())
    }
}

/// Names of the columns beside the vectors.
pub(crate) fn id_columns() -> Vec<String> {
    id_fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

/// The Arrow schema of a part with these vector columns.
pub(crate) fn part_schema(vectors: &[HookPointWidth]) -> SchemaRef {
    let mut fields = id_fields();
    fields.extend(vectors.iter().map(vector_field));
    Arc::new(Schema::new(fields))
}

/// The item field of a vector column.
pub(crate) fn element_field() -> Field {
    // parquet-rs names the leaf after this field; `element` is what other writers use.
    Field::new("element", DataType::Float32, false)
}

fn id_fields() -> Vec<Field> {
    vec![
        Field::new("dialogue_id", DataType::Utf8, false),
        Field::new("message", DataType::Int32, false),
        Field::new("token_index", DataType::Int32, false),
        Field::new("token_id", DataType::Int32, false),
        Field::new("segment", DataType::Utf8, false),
        Field::new("in_response", DataType::Boolean, false),
        Field::new("in_span", DataType::Boolean, false),
        Field::new("from_end", DataType::Int32, true),
        Field::new("logprob", DataType::Float32, true),
        Field::new("entropy", DataType::Float32, true),
    ]
}

fn vector_field(column: &HookPointWidth) -> Field {
    let width = i32::try_from(column.width).expect("the plan's widths are bounded");
    let name = column.hook_point.column_name();
    let data_type = DataType::FixedSizeList(Arc::new(element_field()), width);
    Field::new(name, data_type, false).with_metadata(HashMap::from([(
        HOOK_POINT_KEY.to_owned(),
        column.hook_point.to_string(),
    )]))
}

/// The columns of `tokens`, in the order of [`part_schema`]. The tokens have been checked.
pub(crate) fn to_arrays<'a>(
    dialogue_ids: impl Iterator<Item = &'a str>,
    tokens: &[Token],
) -> Vec<ArrayRef> {
    let int = |value: u32| i32::try_from(value).expect("tokens are checked when appended");
    let ints = |get: fn(&Token) -> u32| -> ArrayRef {
        Arc::new(
            tokens
                .iter()
                .map(|t| Some(int(get(t))))
                .collect::<Int32Array>(),
        )
    };
    let bools = |get: fn(&Token) -> bool| -> ArrayRef {
        let values = tokens.iter().map(|t| Some(get(t)));
        Arc::new(values.collect::<BooleanArray>())
    };
    let floats = |get: fn(&Token) -> Option<f32>| -> ArrayRef {
        Arc::new(tokens.iter().map(get).collect::<Float32Array>())
    };
    let messages = tokens.iter().map(|t| Some(t.message));
    let segments = tokens.iter().map(|t| t.segment.as_str());
    let from_end = tokens.iter().map(|t| t.from_end.map(int));
    vec![
        Arc::new(StringArray::from_iter_values(dialogue_ids)),
        Arc::new(messages.collect::<Int32Array>()),
        ints(|t| t.token_index),
        ints(|t| t.token_id),
        Arc::new(StringArray::from_iter_values(segments)),
        bools(|t| t.in_response),
        bools(|t| t.in_span),
        Arc::new(from_end.collect::<Int32Array>()),
        floats(|t| t.logprob),
        floats(|t| t.entropy),
    ]
}

/// Dialogue ids and tokens of a batch that starts with the columns of [`part_schema`].
///
/// `Err` says what is wrong with the batch.
pub(crate) fn from_batch(batch: &RecordBatch) -> Result<(StringArray, Vec<Token>), String> {
    let dialogue_ids = column::<StringArray>(batch, "dialogue_id", false)?;
    let message = column::<Int32Array>(batch, "message", false)?;
    let token_index = column::<Int32Array>(batch, "token_index", false)?;
    let token_id = column::<Int32Array>(batch, "token_id", false)?;
    let segment = column::<StringArray>(batch, "segment", false)?;
    let in_response = column::<BooleanArray>(batch, "in_response", false)?;
    let in_span = column::<BooleanArray>(batch, "in_span", false)?;
    let from_end = column::<Int32Array>(batch, "from_end", true)?;
    let logprob = column::<Float32Array>(batch, "logprob", true)?;
    let entropy = column::<Float32Array>(batch, "entropy", true)?;
    let tokens = (0..batch.num_rows()).map(|row| {
        let unsigned = |name: &str, value: i32| {
            u32::try_from(value).map_err(|_| format!("column `{name}` holds {value}"))
        };
        let finite = |name: &str, array: &Float32Array| match option(array, row) {
            Some(row) if !array.value(row).is_finite() => {
                Err(format!("column `{name}` holds {}", array.value(row)))
            }
            row => Ok(row.map(|row| array.value(row))),
        };
        let name = segment.value(row);
        let segment = *Segment::ALL
            .iter()
            .find(|segment| segment.as_str() == name)
            .ok_or_else(|| format!("column `segment` holds `{}`", name.escape_debug()))?;
        Ok(Token {
            message: message.value(row),
            token_index: unsigned("token_index", token_index.value(row))?,
            token_id: unsigned("token_id", token_id.value(row))?,
            segment,
            in_response: in_response.value(row),
            in_span: in_span.value(row),
            from_end: option(from_end, row)
                .map(|row| unsigned("from_end", from_end.value(row)))
                .transpose()?,
            logprob: finite("logprob", logprob)?,
            entropy: finite("entropy", entropy)?,
        })
    });
    let tokens = tokens.collect::<Result<Vec<_>, String>>()?;
    Ok((dialogue_ids.clone(), tokens))
}

/// A column of a batch by name and type; `Err` says what is wrong with it.
pub(crate) fn column<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &str,
    nullable: bool,
) -> Result<&'a A, String> {
    let array = batch
        .column_by_name(name)
        .ok_or_else(|| format!("column `{name}` is missing"))?;
    if !nullable && array.null_count() > 0 {
        return Err(format!("column `{name}` holds nulls"));
    }
    array
        .as_any()
        .downcast_ref::<A>()
        .ok_or_else(|| format!("column `{name}` has type {}", array.data_type()))
}

fn option(array: &dyn Array, row: usize) -> Option<usize> {
    array.is_valid(row).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::token;

    #[test]
    fn rules_of_a_token() {
        let check = |token: Token, previous: Option<Token>, column: &str| {
            let (found, _) = token
                .check(previous.as_ref(), Positions::Response)
                .unwrap_err();
            assert_eq!(found, column);
        };
        let good = Token {
            in_response: true,
            ..token(5)
        };
        assert_eq!(good.check(None, Positions::Response), Ok(()));
        check(
            Token {
                message: -2,
                ..good
            },
            None,
            "message",
        );
        check(
            Token {
                token_id: u32::MAX,
                ..good
            },
            None,
            "token_id",
        );
        check(
            Token {
                from_end: Some(1 << 31),
                ..good
            },
            None,
            "from_end",
        );
        check(good, Some(good), "token_index");
        check(
            Token {
                in_response: false,
                ..good
            },
            None,
            "in_response",
        );
    }

    #[test]
    fn arrow_form_round_trips() {
        let mut tokens = vec![token(0), token(1), token(2)];
        tokens[0].logprob = None;
        tokens[1].entropy = None;
        tokens[2].from_end = Some(0);
        let arrays = to_arrays(["a", "a", "b"].into_iter(), &tokens);
        let batch = RecordBatch::try_new(part_schema(&[]), arrays).unwrap();
        let (ids, read) = from_batch(&batch).unwrap();
        assert_eq!(read, tokens);
        assert_eq!(ids, StringArray::from(vec!["a", "a", "b"]));
    }

    #[test]
    fn a_batch_that_breaks_a_rule_is_refused() {
        let arrays = || to_arrays(["a"].into_iter(), &[token(0)]);
        let check = |place: usize, array: ArrayRef, expected: &str| {
            let mut arrays = arrays();
            arrays[place] = array;
            let batch = RecordBatch::try_new(part_schema(&[]), arrays).unwrap();
            assert_eq!(from_batch(&batch).unwrap_err(), expected);
        };
        check(
            2,
            Arc::new(Int32Array::from(vec![-1])),
            "column `token_index` holds -1",
        );
        check(
            4,
            Arc::new(StringArray::from(vec!["aside"])),
            "column `segment` holds `aside`",
        );
        check(
            7,
            Arc::new(Int32Array::from(vec![-3])),
            "column `from_end` holds -3",
        );
        check(
            8,
            Arc::new(Float32Array::from(vec![f32::NAN])),
            "column `logprob` holds NaN",
        );
    }
}
