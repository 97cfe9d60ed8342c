mod calls;
mod keys;
