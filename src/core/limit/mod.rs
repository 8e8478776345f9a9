//! Limits that several areas share.

mod rate;

pub use rate::Rate;
