//! What was sent and received, and how long it took.

use std::time::Duration;

use crate::options::Options;

#[derive(Default)]
pub(crate) struct Tally {
    /// How much later than due each event was sent: above a fraction of the bar, this program is the bottleneck.
    late: Vec<u32>,
    /// From sent to read, in nanoseconds.
    delays: Vec<u32>,
}

impl Tally {
    pub(crate) fn sent(&mut self, late: Duration) {
        self.late.push(nanoseconds(late));
    }

    pub(crate) fn received(&mut self, delay: Duration) {
        self.delays.push(nanoseconds(delay));
    }

    /// As JSON; times in microseconds.
    pub(crate) fn report(&mut self, options: &Options, ended: usize, took: Duration) -> String {
        self.late.sort_unstable();
        self.delays.sort_unstable();
        format!(
            concat!(
                "{{\"streams\": {}, \"ended\": {}, \"sent\": {}, \"received\": {}, \"seconds\": {:.3}, ",
                "\"p50\": {:.1}, \"p99\": {:.1}, \"p999\": {:.1}, \"max\": {:.1}, \"late_p99\": {:.1}}}"
            ),
            options.streams,
            ended,
            self.late.len(),
            self.delays.len(),
            took.as_secs_f64(),
            quantile(&self.delays, 500),
            quantile(&self.delays, 990),
            quantile(&self.delays, 999),
            quantile(&self.delays, 1000),
            quantile(&self.late, 990),
        )
    }
}

fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

/// The value that so many of 1,000 do not exceed, in microseconds.
fn quantile(ordered: &[u32], of_thousand: usize) -> f64 {
    let rank = (ordered.len() * of_thousand).div_ceil(1000).max(1);
    ordered.get(rank - 1).map_or(0.0, |&value| f64::from(value) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=200).map(|value| value * 1000).collect();
        assert!((quantile(&values, 990) - 198.0).abs() < 1e-9);
        assert!((quantile(&values, 1000) - 200.0).abs() < 1e-9);
        assert!(quantile(&[], 500).abs() < 1e-9);
    }
}
