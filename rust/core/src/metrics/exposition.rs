//! Writes the text formats of Prometheus: families of samples with labels.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::buckets::BOUNDS;
use super::series::Histogram;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format's media type, with parameters.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Writes families.
#[derive(Debug)]
pub(super) struct Exposition {
    out: String,
    format: Format,
    name: &'static str,
}

/// Names and values of labels, in the order written.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

// Writing to a String cannot fail.
impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self { out: String::with_capacity(16 * 1024), format, name: "" }
    }

    /// Begins a family. A counter's name ends in `_total`. `help` must not contain a backslash or a line end.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let family = match self.format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Text => name,
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.out, "# HELP {family} {help}\n# TYPE {family} {kind}");
    }

    /// Writes a sample of the current family.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut below = 0;
        let bounds = BOUNDS.into_iter().map(|(written, _)| written).chain(["+Inf"]);
        for (bound, count) in bounds.zip(histogram.buckets) {
            below += count;
            self.line("_bucket", labels, Some(bound), below);
        }
        self.line("_sum", labels, None, seconds(Duration::from_nanos(histogram.sum)));
        self.line("_count", labels, None, below);
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.out.push(before);
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(value, &mut self.out);
            self.out.push('"');
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

/// Appends a label's value. Only backslash, quote and line feed are escaped.
fn escape(value: &str, out: &mut String) {
    for char in value.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            char => out.push(char),
        }
    }
}

/// Formats seconds with nanosecond precision.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut exposition = Exposition::new(format);
        exposition.family("a_total", Kind::Counter, "How many.");
        exposition.sample(&[], 7);
        exposition.sample(&[("x", "a\\b\"c\nd\r\té"), ("y", "")], 8);
        exposition.family("b", Kind::Gauge, "How much.");
        exposition.sample(&[], seconds(Duration::new(3, 5)));
        exposition.finish()
    }

    #[test]
    fn text() {
        let expected = "# HELP a_total How many.\n# TYPE a_total counter\na_total 7\n\
                        a_total{x=\"a\\\\b\\\"c\\nd\r\té\",y=\"\"} 8\n\
                        # HELP b How much.\n# TYPE b gauge\nb 3.000000005\n";
        assert_eq!(written(Format::Text), expected);
    }

    #[test]
    fn open_metrics() {
        let text = written(Format::OpenMetrics);
        assert!(text.starts_with("# HELP a How many.\n# TYPE a counter\na_total 7\n"), "{text}");
        assert!(text.ends_with("\nb 3.000000005\n# EOF\n"), "{text}");
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut histogram = Histogram { sum: 1_500_000_000, ..Histogram::default() };
        histogram.buckets[0] = 2;
        histogram.buckets[3] = 1;
        histogram.buckets[18] = 4;
        let mut exposition = Exposition::new(Format::Text);
        exposition.family("h", Kind::Histogram, "H.");
        exposition.histogram(&[("r", "x")], &histogram);
        let text = exposition.finish();
        for line in [
            "h_bucket{r=\"x\",le=\"0.0005\"} 2\n",
            "h_bucket{r=\"x\",le=\"0.0025\"} 2\n",
            "h_bucket{r=\"x\",le=\"0.005\"} 3\n",
            "h_bucket{r=\"x\",le=\"300.0\"} 3\n",
            "h_bucket{r=\"x\",le=\"+Inf\"} 7\n",
            "h_sum{r=\"x\"} 1.500000000\n",
            "h_count{r=\"x\"} 7\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
