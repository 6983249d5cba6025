//! `Recorder`: counts and logs finished messages.

use std::mem;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use waypost_core::engine::{self, Ending};
use waypost_core::log::{Kept, Outcome, Pushed, RECENT, Record, Why, rfc3339};
use waypost_core::metrics::{CELLS, CODES, Format, Gauge, Memory, Metrics, Total};

use crate::intake::Intake;
use crate::registry::Registry;

/// Counts finished messages, and keeps their lines for the access log. Mutable, for use by any thread.
#[pyclass(frozen, module = "waypost._native")]
pub(crate) struct Recorder {
    inner: Arc<engine::Recorder>,
    /// Called when lines wait to be written.
    wake: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl Recorder {
    /// Bytes of memory for the counters.
    #[classattr]
    const SIZE: usize = CELLS * size_of::<u64>();

    /// How many messages `recent` gives at most.
    #[classattr]
    const RECENT: usize = RECENT;

    #[new]
    #[pyo3(signature = (codes, memory = None))]
    fn new(codes: Vec<String>, memory: Option<PyBuffer<u8>>) -> PyResult<Self> {
        if codes.len() > CODES {
            return Err(PyValueError::new_err(format!("at most {CODES} codes are counted")));
        }
        let metrics = match memory {
            None => Metrics::on_heap(codes),
            Some(buffer) => {
                let memory: Memory = Box::new(Shared::of(buffer)?);
                Metrics::new(memory, codes).ok_or_else(|| PyValueError::new_err("the memory is too small"))?
            }
        };
        if metrics.total(Total::Began) == 0 {
            metrics.add(Total::Began, now());
        }
        Ok(Self { inner: Arc::new(engine::Recorder::new(metrics)), wake: Mutex::new(None) })
    }

    /// The callable usually refers to the recorder, so the garbage collector must see it.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.wake.try_lock() {
            Ok(wake) => visit.call(&*wake),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let old = self.wake().take();
        drop(old);
    }

    /// Declare this process to be worker number `worker`, counted from 0. Each worker has its own gauges.
    fn become_worker(&self, worker: usize) {
        self.inner.become_worker(worker);
    }

    /// Drop the gauges of a worker that has exited.
    fn forget_worker(&self, worker: usize) {
        self.inner.metrics.forget_worker(worker);
    }

    /// Set this worker's gauges: two numbers of connections, and bytes of buffered request bodies.
    #[pyo3(signature = (*, client_connections, upstream_idle, buffered))]
    fn gauges(&self, client_connections: u64, upstream_idle: u64, buffered: u64) {
        let gauges = [
            (Gauge::Up, 1),
            (Gauge::ClientConnections, client_connections),
            (Gauge::UpstreamIdle, upstream_idle),
            (Gauge::Buffered, buffered),
        ];
        for (gauge, value) in gauges {
            self.inner.metrics.set(self.inner.worker(), gauge, value);
        }
    }

    /// Count a client connection.
    fn client_connected(&self) {
        self.inner.metrics.add(Total::ClientConnections, 1);
    }

    /// Count a mirror that was not sent, because too many are under way or the message's body is streamed.
    fn mirror_dropped(&self) {
        self.inner.metrics.add(Total::MirrorsDropped, 1);
    }

    /// Count a new connection to an endpoint.
    fn upstream_connected(&self) {
        self.inner.metrics.add(Total::UpstreamConnections, 1);
    }

    /// Record that a configuration was loaded (`good`), or could not be.
    #[pyo3(signature = (*, good, first = false))]
    fn loaded(&self, good: bool, first: bool) {
        let (metrics, worker) = (&self.inner.metrics, self.inner.worker());
        if good {
            metrics.set(worker, Gauge::Loaded, now());
        }
        if !first {
            metrics.set(worker, Gauge::LastReload, if good { 1 } else { 2 });
            if worker == 0 {
                metrics.add(if good { Total::Reloaded } else { Total::NotReloaded }, 1);
            }
        }
    }

    /// All metrics in the Prometheus text format (0.0.4), or as OpenMetrics (1.0.0), and their media type.
    #[pyo3(signature = (registry = None, *, openmetrics = false))]
    fn render(
        &self,
        py: Python<'_>,
        registry: Option<&Registry>,
        openmetrics: bool,
    ) -> (String, &'static str) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let text = py.detach(|| {
            let clusters = registry.map(Registry::views).unwrap_or_default();
            self.inner.metrics.render(format, env!("CARGO_PKG_VERSION"), &clusters)
        });
        (text, format.media_type())
    }

    /// Keep an access log line for each finished message, and call `wake` to have lines written.
    fn log(&self, wake: Option<Py<PyAny>>) {
        self.inner.log(wake.is_some());
        let old = mem::replace(&mut *self.wake(), wake);
        drop(old); // Freeing it may run Python code, so release the lock first.
    }

    /// Take the lines that wait, and their number.
    fn take_lines<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, u64) {
        let (bytes, lines) = self.inner.take_lines();
        (PyBytes::new(py, &bytes), lines)
    }

    /// The latest messages that finished in this process, newest first.
    fn recent<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.inner.recent().iter().map(|outcome| described(py, outcome)).collect()
    }

    /// Count lines that were written, and lines that could not be written.
    fn lines_written(&self, written: u64, dropped: u64) {
        self.inner.metrics.add(Total::LinesWritten, written);
        self.inner.metrics.add(Total::LinesDropped, dropped);
    }

    /// Record a request that ended before it was decided.
    #[pyo3(signature = (code, status, *, intake = None, id = "", client = None, method = "", target = None, bytes_in = 0, bytes_out = 0))]
    #[allow(clippy::too_many_arguments)] // One per known part of the request.
    fn record_rejection(
        &self,
        py: Python<'_>,
        code: Option<&str>,
        status: u16,
        intake: Option<&Intake>,
        id: &str,
        client: Option<&str>,
        method: &str,
        target: Option<&[u8]>,
        bytes_in: u64,
        bytes_out: u64,
    ) -> PyResult<()> {
        let ending = Ending {
            time: now(),
            at: None,
            address: None,
            upstream_id: None,
            attempts: 0,
            trail: &[],
            status,
            bytes_in,
            bytes_out,
            queued: Duration::ZERO,
            first_byte: None,
            total: intake.map_or(Duration::ZERO, |intake| intake.since.elapsed()),
            why: code.map_or(Why::ClientGone, Why::Error),
        };
        let pushed = match intake {
            Some(intake) => self.inner.record_rejection(intake.inner(), id, &ending),
            None => self.inner.record_unread(&Record {
                id,
                client,
                method: method.as_bytes(),
                target: target.unwrap_or_default(),
                ..ending.record()
            }),
        };
        self.pushed(py, pushed)
    }
}

impl Recorder {
    /// Locks the callable. Python code must not run meanwhile, because it might lock it too.
    fn wake(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inner(&self) -> &Arc<engine::Recorder> {
        &self.inner
    }

    /// Calls `wake` if the result of pushing a line requires it.
    pub(crate) fn pushed(&self, py: Python<'_>, pushed: Pushed) -> PyResult<()> {
        let urgent = match pushed {
            Pushed::Waits | Pushed::Dropped => return Ok(()),
            Pushed::First => false,
            Pushed::Urgent => true,
        };
        let wake = self.wake().as_ref().map(|wake| wake.clone_ref(py));
        if let Some(wake) = wake {
            wake.call1(py, (urgent,))?;
        }
        Ok(())
    }
}

/// One attempt of a message that is over, or a cluster that it passed over.
fn attempted<'py>(py: Python<'py>, attempt: &Kept) -> PyResult<Bound<'py, PyDict>> {
    let shown = PyDict::new(py);
    shown.set_item("cluster", &attempt.cluster)?;
    shown.set_item("endpoint", &attempt.endpoint)?;
    shown.set_item("address", &attempt.address)?;
    shown.set_item("status", attempt.status)?;
    shown.set_item("failure", &attempt.failure)?;
    shown.set_item("ms", attempt.endpoint.as_ref().map(|_| attempt.took.as_secs_f64() * 1000.0))?;
    shown.set_item("upstream_request_id", &attempt.upstream_id)?;
    Ok(shown)
}

/// A message that is over, as administration shows it.
fn described<'py>(py: Python<'py>, outcome: &Outcome) -> PyResult<Bound<'py, PyDict>> {
    let shown = PyDict::new(py);
    let mut time = Vec::new();
    rfc3339(outcome.time, &mut time);
    shown.set_item("time", String::from_utf8_lossy(&time))?;
    for (name, text) in outcome.texts() {
        shown.set_item(name, text)?;
    }
    shown.set_item("attempts", outcome.attempts)?;
    let tried = outcome.tried.iter().map(|attempt| attempted(py, attempt)).collect::<PyResult<Vec<_>>>()?;
    shown.set_item("tried", tried)?;
    shown.set_item("status", Some(outcome.status).filter(|status| *status != 0))?;
    shown.set_item("ms", outcome.total.as_secs_f64() * 1000.0)?;
    Ok(shown)
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Memory supplied by Python: a mapping that other processes may share.
pub(crate) struct Shared {
    buffer: PyBuffer<u8>,
}

impl Shared {
    pub(crate) fn of(buffer: PyBuffer<u8>) -> PyResult<Self> {
        if buffer.readonly() || !buffer.is_c_contiguous() || !buffer.buf_ptr().cast::<u64>().is_aligned() {
            return Err(PyValueError::new_err(
                "the memory must be writable, contiguous and aligned to 8 bytes",
            ));
        }
        Ok(Self { buffer })
    }
}

impl AsRef<[AtomicU64]> for Shared {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[AtomicU64] {
        let count = self.buffer.len_bytes() / size_of::<u64>();
        // SAFETY: the pointer is non-null, aligned and valid for this many bytes (checked by `of`) as long as the
        // buffer is held, because an exporter may neither move nor unmap exported memory. Every bit pattern is a valid
        // number. All other code, in this process and in others, changes the memory only by atomic operations on such
        // numbers.
        unsafe { std::slice::from_raw_parts(self.buffer.buf_ptr().cast::<AtomicU64>(), count) }
    }
}
