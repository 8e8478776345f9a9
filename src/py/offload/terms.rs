//! On which terms a call is run: the options of a pool or of a view of it.

use std::sync::Arc;
use std::time::Duration;

use offloop_core::offload::Gate;

use super::order::Order;
use super::state::{Keeper, PoolState};

/// What a cancel does to a call that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCancel {
    /// The await ends when the call has.
    Wait,
    /// The await ends at once; the call goes on unseen.
    Abandon,
    /// The await ends at once, and the process of the call is killed.
    Kill,
}

impl OnCancel {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "wait" => Some(Self::Wait),
            "abandon" => Some(Self::Abandon),
            "kill" => Some(Self::Kill),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Abandon => "abandon",
            Self::Kill => "kill",
        }
    }
}

/// The options that all calls of one view share.
pub(crate) struct Terms {
    pub(crate) pool: Arc<PoolState>,
    /// The last one closes the pool.
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) priority: i8,
    /// Queue and run together.
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) on_cancel: OnCancel,
    /// A limit of its own, within that of the pool.
    pub(crate) gate: Option<Arc<Gate<Order>>>,
}
