//! Lists from the socket that cannot grow without end.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// A list of which at most `N + 1` elements are kept; one more than `N` tells that it was too long.
///
/// A few bytes of JSON can become a hundred in memory, so the limit on the body alone does not bound
/// what a request costs.
#[derive(Clone, PartialEq)]
pub(crate) struct Bounded<T, const N: usize>(Vec<T>);

impl<T, const N: usize> Bounded<T, N> {
    /// The elements, or `None` if there were more than `N`.
    pub(crate) fn into_vec(self) -> Option<Vec<T>> {
        (self.0.len() <= N).then_some(self.0)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Bounded<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for ListVisitor<T, N> {
    type Value = Bounded<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() <= N {
            match seq.next_element()? {
                Some(element) => list.push(element),
                None => return Ok(Bounded(list)),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Bounded(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_up_to_its_bound_and_tells_of_more() {
        let read = |json: &str| serde_json::from_str::<Bounded<u32, 3>>(json);
        assert_eq!(read("[]").unwrap().into_vec(), Some(vec![]));
        assert_eq!(read("[1,2,3]").unwrap().into_vec(), Some(vec![1, 2, 3]));
        assert_eq!(read("[1,2,3,4]").unwrap().into_vec(), None);
        let long = read("[1,2,3,4,\"not a number\",[[]]]").unwrap();
        assert_eq!(long.0.len(), 4);
        assert!(read("[1,-2]").is_err());
        assert!(read("[1,2,3,4,5").is_err());
        assert!(read("{}").is_err());
    }
}
