mod device;
mod faults;
pub mod line;
mod memory;
mod placement;
mod policy;
mod several;
mod supervisor;
