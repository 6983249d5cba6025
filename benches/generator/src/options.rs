//! The command line.

use std::error::Error;
use std::time::Duration;

/// What to send, and where.
pub(crate) struct Options {
    /// Port of the endpoint.
    pub(crate) listen: u16,
    /// Port of what the client connects to.
    pub(crate) target: u16,
    pub(crate) streams: usize,
    /// Events a second on each stream.
    pub(crate) rate: f64,
    pub(crate) time: Duration,
    /// Events that are due before this are not counted.
    pub(crate) warm_up: Duration,
    /// All streams send at the same instant, as an engine does that decodes them in one batch.
    pub(crate) lockstep: bool,
    header: Option<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            listen: 0,
            target: 0,
            streams: 500,
            rate: 40.0,
            time: Duration::from_secs(10),
            warm_up: Duration::from_secs(1),
            lockstep: false,
            header: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--lockstep" {
                options.lockstep = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--listen" => options.listen = value.parse()?,
                "--target" => options.target = value.parse()?,
                "--streams" => options.streams = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--seconds" => options.time = Duration::try_from_secs_f64(value.parse()?)?,
                "--warm-up" => options.warm_up = Duration::try_from_secs_f64(value.parse()?)?,
                "--header" => options.header = Some(value),
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        if options.listen == 0 || options.streams == 0 || options.rate <= 0.0 {
            return Err("--listen, --streams and --rate are above 0".into());
        }
        if options.target == 0 {
            options.target = options.listen;
        }
        Ok(options)
    }

    /// The request that opens a stream.
    pub(crate) fn request(&self) -> Vec<u8> {
        let body = r#"{"model":"llama-3-8b","messages":[{"role":"user","content":"Count."}],"stream":true}"#;
        let header = self.header.as_ref().map_or_else(String::new, |header| format!("{header}\r\n"));
        let head =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
        format!("{head}{header}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}
