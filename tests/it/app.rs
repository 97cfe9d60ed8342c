mod check;
mod dev;
mod grant;
mod secret;
mod sessions;
mod start;
mod trust;
