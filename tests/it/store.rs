//! One contract for every store. Each test gets a store by a path of its own, and may open it again.

mod contract;
mod disk;
mod migration;
mod model;
mod postgres;
mod sqlite;
mod transfer;
