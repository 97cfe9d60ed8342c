//! An HTTP answer, read to its end.

use serde_json::Value;

/// Status, headers and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Sends `request`, a whole HTTP/1.1 request in bytes, and reads the answer until the other side closes.
    /// Written by hand, so that a test can send what no client library would.
    #[track_caller]
    pub fn exchange(stream: impl std::io::Read + std::io::Write, request: &[u8]) -> Self {
        Self::try_exchange(stream, request).expect("a whole answer")
    }

    /// As [`Self::exchange`]; `None` where the other side was gone before it had answered.
    pub fn try_exchange(mut stream: impl std::io::Read + std::io::Write, request: &[u8]) -> Option<Self> {
        // The other side may answer and close before it has read all: what it said still counts.
        let _ = stream.write_all(request);
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        Self::parse(&received)
    }

    /// The next answer on a connection that goes on; `None` where it ends before.
    pub fn next(stream: &mut impl std::io::Read) -> Option<Self> {
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
            received.extend_from_slice(&part[..length]);
            if let Some(answer) = Self::parse(&received) {
                return Some(answer);
            }
        }
    }

    /// `None` for half an answer.
    fn parse(received: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(received).expect("HTTP") else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let answer = Self {
            status: response.code.expect("a status"),
            headers: response.headers.iter().map(|header| (header.name.to_lowercase(), text(header.value))).collect(),
            body: text(&received[head..]),
        };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        (answer.status == 304 || answer.body.len() == length).then_some(answer)
    }

    /// The one value of the header `name`; `None` where it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// All headers, their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The string member `name` of a successful answer.
    pub fn text(&self, name: &str) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    /// Asserts that this is exactly the error `code` under `status`, as RFC 6749 §5.2 has it.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.json()["error"], code, "{self:?}");
        let members = self.json().as_object().expect("an object").len();
        assert_eq!(members, 2, "error and error_description, and nothing else: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("pragma"), Some("no-cache"), "{self:?}");
    }
}
