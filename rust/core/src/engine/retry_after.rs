//! Reads `Retry-After`.

use std::time::Duration;

use crate::http1::ResponseHead;

/// The longest result, in seconds: a day.
const LONGEST: u64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time of a response's `Retry-After` (RFC 9110, section 10.2.3), at most a day. The field is a number of seconds or a
/// date. A date is compared with the response's own `Date`, so that clocks need not agree. `None` if the field is missing or
/// invalid; the two obsolete formats of dates are not supported.
#[must_use]
pub fn retry_after(head: &ResponseHead) -> Option<Duration> {
    let value = field(head, b"retry-after")?;
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().unwrap_or(u64::MAX)
    } else {
        date(value)?.saturating_sub(date(field(head, b"date")?)?)
    };
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

fn field<'h>(head: &'h ResponseHead, name: &[u8]) -> Option<&'h str> {
    let (_, value) = head.headers.iter().find(|(field, _)| *field == name)?;
    std::str::from_utf8(value).ok().map(str::trim)
}

/// Parses a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, as seconds since the beginning of the year 0.
fn date(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let day: u64 = number(next()?, 1..=31)?;
    let month = next().and_then(|name| MONTHS.into_iter().position(|month| month == name))? as u64;
    let year: u64 = number(next()?, 1..=9999)?;
    let mut clock = next()?.split(':');
    let mut unit = |most| number(clock.next()?, 0..=most);
    let (hours, minutes, seconds) = (unit(23)?, unit(59)?, unit(60)?);
    if next()? != "GMT" || next().is_some() || clock.next().is_some() {
        return None;
    }
    // Count years from March, so that a leap day is the last day of its year.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

fn number(digits: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Option<u64> {
        let headers = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        retry_after(&ResponseHead { status: 503, headers }).map(|length| length.as_secs())
    }

    #[test]
    fn seconds_and_dates() {
        assert_eq!(of(&[("retry-after", "7")]), Some(7));
        assert_eq!(of(&[("retry-after", " 0 ")]), Some(0));
        assert_eq!(of(&[("retry-after", "99999999999999999999999")]), Some(86_400));
        for (date, then, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT", 30),
            ("Tue, 31 Dec 2024 23:59:50 GMT", "Wed, 01 Jan 2025 00:00:05 GMT", 15),
            ("Wed, 28 Feb 2024 23:59:59 GMT", "Thu, 29 Feb 2024 00:00:00 GMT", 1),
            ("Thu, 29 Feb 2024 23:59:59 GMT", "Fri, 01 Mar 2024 00:00:00 GMT", 1),
            ("Tue, 28 Feb 2023 23:59:59 GMT", "Wed, 01 Mar 2023 00:00:00 GMT", 1),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:30 GMT", 0),
        ] {
            assert_eq!(of(&[("retry-after", then), ("date", date)]), Some(seconds), "{date} {then}");
        }
    }

    #[test]
    fn what_says_nothing() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for value in [
            "",
            "-1",
            "+1",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
        ] {
            assert_eq!(of(&[("retry-after", value), date]), None, "{value}");
        }
        assert_eq!(
            of(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            None,
            "no date to compare it with"
        );
        assert_eq!(of(&[]), None);
    }
}
