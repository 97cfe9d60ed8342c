mod device;
mod faults;
mod line;
mod memory;
mod placement;
mod policy;
mod several;
mod supervisor;
