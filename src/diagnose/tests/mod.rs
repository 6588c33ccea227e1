//! Diagnosis on fixture snapshots, which are made by the real collectors from real object shapes.

mod cases;
mod changes;
mod face;
mod injection;
mod limits;
mod world;
