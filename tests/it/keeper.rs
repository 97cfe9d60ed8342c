mod faults;
mod memory;
mod placement;
mod policy;
