mod calls;
mod faulty;
mod keys;
