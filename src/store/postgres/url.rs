//! `postgres://…`: where the database is, and how it is reached. The parameters are libpq's, with one
//! difference: where there is TLS, the server's certificate is always verified.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// For one attempt to connect to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection that answers nothing at all is believed in.
const SILENCE: Duration = Duration::from_secs(10);

/// The parameters that the driver does not know in this form.
const SSL_MODE: &str = "sslmode";
const SSL_ROOT_CERTIFICATES: &str = "sslrootcert";

/// A database and how it is reached; shown without its password.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl {
    pub(super) driver: Config,
    pub(super) tls: Tls,
}

/// Whether the connection is encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Tls {
    /// It is not: a Unix socket, the loopback, or the operator's wish.
    Off,
    /// It is, and the server's certificate and name are verified (`sslmode=verify-full`).
    Verified {
        /// The certificate authorities in this PEM file; those of the system where it is left out.
        authorities: Option<PathBuf>,
    },
}

impl PostgresUrl {
    /// Reads `postgres://USER@HOST:PORT/DATABASE?PARAMETERS`.
    ///
    /// # Errors
    /// What was expected, for the operator; nothing of a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected \"postgres://USER@HOST:PORT/DATABASE\"";
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some((SSL_MODE, value)) => mode = Some(value),
                Some((SSL_ROOT_CERTIFICATES, path)) => authorities = Some(absolute(&percent_decoded(path))?),
                _ => others.push(parameter),
            }
        }
        let mut driver = Config::from_str(&format!("{address}?{}", others.join("&")))
            // The driver's message may repeat what was written, a password included.
            .map_err(|_| format!("{expected}, with libpq's parameters behind a question mark"))?;
        if driver.get_hosts().is_empty() {
            return Err(format!("{expected}, or \"postgres:///DATABASE?host=/run/postgresql\" for a Unix socket"));
        }
        let tls = match mode {
            Some("disable") if authorities.is_some() => {
                return Err(format!("{SSL_ROOT_CERTIFICATES} has no use with {SSL_MODE}=disable"));
            }
            Some("disable") => Tls::Off,
            Some("require" | "verify-full") => Tls::Verified { authorities },
            None if authorities.is_none() && driver.get_hosts().iter().all(is_this_machine) => Tls::Off,
            None => Tls::Verified { authorities },
            Some(_) => {
                return Err(format!(
                    "expected {SSL_MODE}=verify-full or {SSL_MODE}=disable: what is in between protects from nobody who is in between"
                ));
            }
        };
        driver.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        // Of several hosts, the one that takes writes is found. A single one is still good for reads while it
        // takes none.
        if driver.get_hosts().len() > 1 {
            driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        driver.keepalives_idle(SILENCE).keepalives_interval(SILENCE / 4).keepalives_retries(4);
        if driver.get_tcp_user_timeout().is_none() {
            driver.tcp_user_timeout(SILENCE);
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(CONNECT_TIMEOUT);
        }
        if driver.get_application_name().is_none() {
            driver.application_name("mintkeep");
        }
        Ok(Self { driver, tls })
    }

    /// The same with `password`, from where it is kept.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.driver.password(password);
        self
    }

    /// Whether the text that it was read from had the password in it.
    pub fn has_password(&self) -> bool {
        self.driver.get_password().is_some()
    }

    /// Whether everything, the password included, crosses a network in the clear.
    pub fn is_in_the_clear(&self) -> bool {
        self.tls == Tls::Off && !self.driver.get_hosts().iter().all(is_this_machine)
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { driver, .. } = self;
        f.write_str("postgres://")?;
        if let Some(user) = driver.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = driver.get_ports();
        for (number, host) in driver.get_hosts().iter().enumerate() {
            let port = ports.get(number).or(ports.first()).unwrap_or(&5432);
            let comma = if number == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", driver.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self}, {:?})", self.tls)
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err(format!("{SSL_ROOT_CERTIFICATES}: expected an absolute path")) }
}

fn percent_decoded(text: &str) -> String {
    // In an URL of libpq's a plus sign stands for itself.
    let text = text.replace('+', "%2B");
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(text: &str) -> Tls {
        PostgresUrl::parse(text).unwrap().tls
    }

    #[test]
    fn across_a_network_the_server_is_verified_unless_the_operator_says_otherwise() {
        let by_system = Tls::Verified { authorities: None };
        assert_eq!(tls("postgres://mint@db.example.com/mint"), by_system);
        assert_eq!(tls("postgres://mint@localhost,db.example.com/mint"), by_system);
        assert_eq!(tls("postgres://mint@127.0.0.1/mint?sslmode=require"), by_system);
        let authorities = Some(PathBuf::from("/etc/db ca+.pem"));
        assert_eq!(tls("postgresql://mint@db/mint?sslrootcert=/etc/db%20ca+.pem"), Tls::Verified { authorities });
        for text in
            ["postgres://mint@[::1]:5433/mint", "postgres:///mint?host=/run/postgresql", "postgres://u@localhost/d"]
        {
            assert_eq!(tls(text), Tls::Off, "{text}");
        }
        let plain = PostgresUrl::parse("postgres://mint@db.example.com/mint?sslmode=disable").unwrap();
        assert!(plain.is_in_the_clear());
    }

    #[test]
    fn it_is_shown_without_its_password() {
        let url = PostgresUrl::parse("postgres://mint:hunter2@db1:5433,db2:5434/mint?sslmode=verify-full").unwrap();
        assert_eq!(url.to_string(), "postgres://mint@db1:5433,db2:5434/mint");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.has_password());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_a_password() {
        for text in [
            "postgres://mint:hunter2@db/mint?sslmode=prefer",
            "postgres://mint:hunter2@db/mint?sslmode=disable&sslrootcert=/ca.pem",
            "postgres://mint:hunter2@db/mint?sslrootcert=ca.pem",
            "postgres://mint:hunter2@db:port/mint",
            "postgres:///mint?password=hunter2",
            "postgres://mint:hunter2@db/mint?colour=hunter2",
        ] {
            let error = PostgresUrl::parse(text).expect_err(text);
            assert!(error.contains("expected") || error.contains("no use"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
