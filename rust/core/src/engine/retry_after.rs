//! Reads `Retry-After`.

use std::time::Duration;

use crate::auth::UnixTime;
use crate::http1::ResponseHead;

/// The longest result: a day.
const LONGEST: Duration = Duration::from_secs(86_400);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time after which an endpoint wants to be asked again (RFC 9110, section 10.2.3), at most a day; `None` if it says
/// nothing that can be read.
///
/// - A number of seconds, whole or with a fraction: `7`, `0.25`.
/// - A date in one of the three formats of HTTP. It is compared with the response's own `Date`, so that clocks need not
///   agree, or else with `now`.
/// - `retry-after-ms`, a number of milliseconds, counts first: it is the more exact of the two.
/// - A negative number and a date in the past are zero: the endpoint asks for no pause.
/// - Anything else (`soon`, `1e3`, `5s`) is ignored, as if the field were missing. Of several fields, the first counts.
#[must_use]
pub fn retry_after(head: &ResponseHead, now: UnixTime) -> Option<Duration> {
    let milliseconds = field(head, b"retry-after-ms").and_then(number).map(|number| number / 1000.0);
    let seconds = milliseconds.or_else(|| {
        let value = field(head, b"retry-after")?;
        number(value).or_else(|| {
            let base = field(head, b"date").and_then(date).unwrap_or(now.0);
            Some(float(date(value)?.saturating_sub(base)))
        })
    })?;
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST).min(LONGEST))
}

fn field<'h>(head: &'h ResponseHead, name: &[u8]) -> Option<&'h str> {
    let (_, value) = head.headers.iter().find(|(field, _)| *field == name)?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Parses a decimal number without an exponent, such as `-1.5`.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if plain(whole) && plain(fraction) { text.parse().ok() } else { None }
}

/// Parses a date of HTTP (RFC 9110, section 5.6.7), as seconds since 1970; earlier dates are 0.
fn date(text: &str) -> Option<u64> {
    let (day, month, year, clock) = match text.split_once(", ") {
        // Sun, 06 Nov 1994 08:49:37 GMT
        Some((_, rest)) if rest.contains(' ') && !rest.contains('-') => {
            let [day, month, year, clock, "GMT"] = split::<5>(rest, ' ')? else { return None };
            (day, month, year, clock)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some((_, rest)) => {
            let [date, clock, "GMT"] = split::<3>(rest, ' ')? else { return None };
            let [day, month, year] = split::<3>(date, '-')?;
            (day, month, year, clock)
        }
        // Sun Nov  6 08:49:37 1994
        None => {
            let parts: Vec<&str> = text.split_ascii_whitespace().take(6).collect();
            let [_, month, day, clock, year] = parts[..] else { return None };
            (day, month, year, clock)
        }
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let day = within(day, 1..=31)?;
    let year = match (year.len(), within(year, 0..=9999)?) {
        // Two digits: RFC 9110 leaves a window of a hundred years around now, of which this is a good one.
        (2, year) => year + if year < 70 { 2000 } else { 1900 },
        (4, year) => year,
        _ => return None,
    };
    let [hours, minutes, seconds] = split::<3>(clock, ':')?;
    let (hours, minutes, seconds) =
        (within(hours, 0..=23)?, within(minutes, 0..=59)?, within(seconds, 0..=60)?);
    let days = days(year, month, day).saturating_sub(days(1970, 0, 1));
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Days since the beginning of the year 0. Years are counted from March, so that a leap day is the last day of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 2 { (year.saturating_sub(1), month + 10) } else { (year, month - 2) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day
}

/// Exactly so many parts.
fn split<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let mut parts = text.split(separator);
    let mut out = [""; N];
    for part in &mut out {
        *part = parts.next()?;
    }
    if parts.next().is_some() { None } else { Some(out) }
}

fn within(digits: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && range.contains(number))
}

#[allow(clippy::cast_precision_loss)] // Exact for a million years.
fn float(seconds: u64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn of(fields: &[(&str, &str)]) -> Option<f64> {
        let headers = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        let now = UnixTime(date(NOW).unwrap());
        retry_after(&ResponseHead { status: 503, headers }, now).map(|length| length.as_secs_f64())
    }

    #[test]
    fn seconds() {
        for (value, seconds) in [
            ("7", 7.0),
            (" 0 ", 0.0),
            ("1.5", 1.5),
            ("0.001", 0.001),
            ("-1", 0.0),
            ("-0.5", 0.0),
            ("99999999999999999999999", 86_400.0),
            ("86400.5", 86_400.0),
        ] {
            assert_eq!(of(&[("retry-after", value)]), Some(seconds), "{value}");
        }
        assert_eq!(of(&[("retry-after", &"9".repeat(1000))]), Some(86_400.0));
        assert_eq!(of(&[("retry-after", "7"), ("retry-after", "8")]), Some(7.0), "the first");
        assert_eq!(of(&[("retry-after", "7"), ("retry-after-ms", "250")]), Some(0.25));
        assert_eq!(of(&[("retry-after", "7"), ("retry-after-ms", "soon")]), Some(7.0));
    }

    #[test]
    fn dates() {
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date(NOW), Some(784_111_777));
        for (date, then, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
            ("Tue, 31 Dec 2024 23:59:50 GMT", "Wed, 01 Jan 2025 00:00:05 GMT", 15.0),
            ("Wed, 28 Feb 2024 23:59:59 GMT", "Thu, 29 Feb 2024 00:00:00 GMT", 1.0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", "Fri, 01 Mar 2024 00:00:00 GMT", 1.0),
            ("Tue, 28 Feb 2023 23:59:59 GMT", "Wed, 01 Mar 2023 00:00:00 GMT", 1.0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:30 GMT", 0.0),
        ] {
            assert_eq!(of(&[("retry-after", then), ("date", date)]), Some(seconds), "{date} {then}");
        }
        for then in
            ["Sun, 06 Nov 1994 08:50:07 GMT", "Sunday, 06-Nov-94 08:50:07 GMT", "Sun Nov  6 08:50:07 1994"]
        {
            assert_eq!(of(&[("retry-after", then)]), Some(30.0), "without a Date, by the clock: {then}");
            assert_eq!(of(&[("retry-after", then), ("date", "today")]), Some(30.0), "{then}");
        }
        assert_eq!(of(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]), Some(86_400.0));
        assert_eq!(of(&[("retry-after", "Mon, 01 Jan 0001 00:00:00 GMT")]), Some(0.0));
    }

    #[test]
    fn what_says_nothing() {
        for value in [
            "",
            "-",
            "+1",
            "1.",
            ".5",
            "1,5",
            "1e3",
            "NaN",
            "inf",
            "5s",
            "soon",
            "٣",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sunday, 06-Nov-1 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
        ] {
            assert_eq!(of(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(of(&[]), None);
    }
}
