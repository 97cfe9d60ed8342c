mod check;
mod dev;
mod grant;
mod secret;
mod start;
