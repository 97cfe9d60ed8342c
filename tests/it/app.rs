mod check;
mod dev;
mod grant;
mod reload;
mod secret;
mod sessions;
mod start;
mod trust;
