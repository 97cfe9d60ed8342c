mod calls;
mod faulty;
mod keys;
mod pins;
