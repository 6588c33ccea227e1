//! Stage 7: drive an approved plan to its end, or back.

pub mod machine;
