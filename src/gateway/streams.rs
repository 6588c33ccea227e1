//! How many streams are open, and of whom: each asks the database again and again, whether anybody reads or not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::domain::TokenId;

/// Streams at a time under one token: some tabs of a browser, not a flood.
const MAX_PER_TOKEN: usize = 32;
/// How often the database is asked while nothing comes; NOTIFY is not needed for this pace.
const POLL: Duration = Duration::from_millis(250);
/// Each further stream slows all of them by this much, so that together they ask at most 250 times a second.
const SHARE: Duration = Duration::from_millis(4);

/// The open streams of a gateway. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<Option<TokenId>, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    streams: Streams,
    token: Option<TokenId>,
}

impl Streams {
    /// One more of this token, or the number that it may have.
    pub(super) fn open(&self, token: Option<TokenId>) -> Result<Open, usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_token = open.entry(token).or_default();
        if *of_token >= MAX_PER_TOKEN {
            return Err(MAX_PER_TOKEN);
        }
        *of_token += 1;
        metrics::gauge!("carapulse_active_sse_connections").increment(1);
        Ok(Open {
            streams: self.clone(),
            token,
        })
    }
}

impl Open {
    /// How long a stream for which nothing came rests.
    pub(super) fn pause(&self) -> Duration {
        let open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        POLL.max(SHARE.saturating_mul(u32::try_from(all).unwrap_or(u32::MAX)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("carapulse_active_sse_connections").decrement(1);
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_token) = open.get_mut(&self.token) {
            *of_token -= 1;
            if *of_token == 0 {
                open.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_so_many_streams_and_a_closed_one_makes_room() {
        let streams = Streams::default();
        let token = Some(TokenId::from_uuid(uuid::Uuid::from_u128(1)));
        let mut open: Vec<_> = (0..MAX_PER_TOKEN)
            .map(|_| streams.open(token).expect("room"))
            .collect();
        assert_eq!(streams.open(token).expect_err("full"), MAX_PER_TOKEN);
        let other = Some(TokenId::from_uuid(uuid::Uuid::from_u128(2)));
        assert!(streams.open(other).is_ok(), "another's are its own");
        open.pop();
        assert!(streams.open(token).is_ok());
        drop(open);
        assert!(
            streams.0.lock().expect("whole").is_empty(),
            "nothing is kept of what is closed"
        );
    }

    #[test]
    fn many_streams_ask_together_no_more_often_than_some() {
        let streams = Streams::default();
        let token = |n: u128| Some(TokenId::from_uuid(uuid::Uuid::from_u128(n)));
        let first = streams.open(token(0)).expect("room");
        assert_eq!(first.pause(), POLL);
        let others: Vec<_> = (1..1000).map(|n| streams.open(token(n)).expect("room")).collect();
        assert_eq!(first.pause(), Duration::from_secs(4));
        drop(others);
        assert_eq!(first.pause(), POLL);
    }
}
