//! Streams of server-sent events through whatever listens on `--target`: how late does each event arrive?
//!
//! One thread is the endpoint (on `--listen`), which sends events on every stream at `--rate`, and the client, which
//! reads them, so that one clock dates both. Without `--target` it connects to itself: that is its own delay, which
//! `benches/streams.py` subtracts. It prints one line of JSON.

mod endpoint;
mod options;
mod reader;
mod tally;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use endpoint::{Schedule, Source};
use options::Options;
use reader::Reader;
use rustix::event::{Timespec, epoll};
use tally::Tally;

const LISTENER: u64 = u64::MAX;
const CLIENT: u64 = 1 << 32;
const BATCH: usize = 512;
/// For all streams to begin; for what is under way to arrive at the end.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut run = Run::new(&options)?;
    run.open(&options)?;
    println!("{}", run.measure(&options)?);
    Ok(())
}

struct Run {
    epoll: OwnedFd,
    listener: TcpListener,
    sources: Vec<Source>,
    readers: Vec<Reader>,
    /// What stamps count from.
    start: Instant,
    tally: Tally,
}

impl Run {
    fn new(options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.listen))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            sources: Vec::new(),
            readers: Vec::new(),
            start: Instant::now(),
            tally: Tally::default(),
        })
    }

    /// Send every stream's request and wait until all have come through.
    fn open(&mut self, options: &Options) -> Result<(), Box<dyn Error>> {
        let request = options.request();
        for number in 0..options.streams {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, options.target))?;
            stream.set_nodelay(true)?;
            stream.write_all(&request)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(CLIENT | u64::try_from(number)?);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            self.readers.push(Reader::new(stream));
            self.turn(Duration::ZERO)?;
        }
        let until = Instant::now() + PATIENCE;
        while self.sources.iter().filter(|source| source.ready).count() < options.streams {
            if Instant::now() > until {
                return Err("not every request has come through".into());
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn measure(&mut self, options: &Options) -> Result<String, Box<dyn Error>> {
        let mut schedule = Schedule::new(options);
        self.sources.retain(|source| source.ready); // a proxy may have made connections that it does not use
        let data = |number: usize| u64::try_from(number).map(epoll::EventData::new_u64);
        for (number, source) in self.sources.iter().enumerate() {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::modify(&self.epoll, &source.stream, data(number)?, flags)?;
        }
        self.start = Instant::now();
        while let Some((due, number)) = schedule.next() {
            loop {
                let now = self.start.elapsed();
                if now >= due {
                    let counts = due >= options.warm_up;
                    if counts {
                        self.tally.sent(now.saturating_sub(due));
                    }
                    if let Some(source) = self.sources.get_mut(number) {
                        source.send(now, counts)?;
                    }
                    break;
                }
                self.turn(due.saturating_sub(now))?;
            }
            if schedule.breathes() {
                self.turn(Duration::ZERO)?;
            }
        }
        let took = self.start.elapsed();
        for source in &mut self.sources {
            source.finish()?;
        }
        let until = Instant::now() + PATIENCE;
        while self.readers.iter().any(|reader| !reader.ended) && Instant::now() < until {
            self.turn(Duration::from_millis(10))?;
        }
        let ended = self.readers.iter().filter(|reader| reader.ended).count();
        Ok(self.tally.report(options, ended, took))
    }

    /// Wait for sockets, and do what they are ready for.
    fn turn(&mut self, wait: Duration) -> Result<(), Box<dyn Error>> {
        let timeout = Timespec::try_from(wait)?;
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                self.accept()?;
            } else if token & CLIENT == 0 {
                if let Some(source) = self.sources.get_mut(usize::try_from(token)?) {
                    source.turn()?;
                }
            } else if let Some(reader) = self.readers.get_mut(usize::try_from(token ^ CLIENT)?) {
                reader.read(self.start, &mut self.tally)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let number = self.sources.len() as u64;
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                    epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(number), flags)?;
                    self.sources.push(Source::new(stream));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a non-blocking socket has, appended to `into`. False: it has ended.
fn read_into(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16384];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(size) => {
                into.extend_from_slice(buffer.get(..size).unwrap_or_default());
                if size < buffer.len() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
