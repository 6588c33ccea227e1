//! The head of a proxy request: request line and headers, as bytes.

use std::io;

use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt};
use url::Url;

use super::HostPort;

/// Longest head, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A head, and the bytes that came with it.
#[derive(Debug)]
pub(super) struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    rest: Vec<u8>,
}

impl Head {
    /// Reads up to the empty line.
    pub(super) async fn read<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                bytes.truncate(end);
                return Self::parse(&bytes, rest).ok_or_else(|| io::Error::other("a malformed head"));
            }
            if bytes.len() > MAX_HEAD_BYTES || from.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::other("no complete head"));
            }
        }
    }

    fn parse(bytes: &[u8], rest: Vec<u8>) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if text
            .chars()
            .any(|c| c.is_control() && c != '\r' && c != '\n' && c != '\t')
        {
            return None;
        }
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let sound = words.next().is_none() && version.starts_with("HTTP/1.") && !method.is_empty();
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.is_empty() || name.contains([' ', '\t', '\n', '\r']) || value.contains(['\r', '\n']) {
                return None;
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        sound.then(|| Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            rest,
        })
    }

    pub(super) fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Bytes that followed the head.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Where the request wants to go.
    pub(super) fn target(&self) -> Option<HostPort> {
        if self.is_connect() {
            return self.target.parse().ok();
        }
        let url = self.url()?;
        format!("{}:{}", url.host_str()?, url.port_or_known_default()?)
            .parse()
            .ok()
    }

    /// Whether the request carries this secret, compared in constant time.
    pub(super) fn bears(&self, secret: &str) -> bool {
        let value = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
        value.is_some_and(|(_, value)| {
            value
                .as_bytes()
                .ct_eq(format!("Bearer {secret}").as_bytes())
                .into()
        })
    }

    /// The head for the server itself: path instead of URL, one request a connection, nothing meant for proxies.
    pub(super) fn origin_form(&self, target: &HostPort) -> Vec<u8> {
        let path = self.url().map_or_else(
            || "/".to_owned(),
            |url| url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
        );
        let mut text = format!(
            "{} {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n",
            self.method
        );
        for (name, value) in &self.headers {
            let hop = ["host", "connection", "keep-alive", "upgrade", "te"]
                .iter()
                .any(|h| name.eq_ignore_ascii_case(h));
            if !hop && !name.to_ascii_lowercase().starts_with("proxy-") {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The same head with a secret for the next proxy, and the bytes that followed it.
    pub(super) fn with_secret(&self, secret: &str) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nProxy-Authorization: Bearer {secret}\r\n",
            self.method, self.target
        );
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("proxy-authorization"))
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.rest);
        bytes
    }

    fn url(&self) -> Option<Url> {
        let url = Url::parse(&self.target).ok()?;
        (url.scheme() == "http" && url.username().is_empty() && url.password().is_none()).then_some(url)
    }
}
