//! Numbers as decimal text, without an allocation.

/// The decimal digits of a number.
pub(crate) struct Digits {
    digits: [u8; 20],
    begin: usize,
}

impl Digits {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut begin = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = of(number % 10);
            number /= 10;
            begin = at;
            if number == 0 {
                break;
            }
        }
        Self { digits, begin }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.begin..).unwrap_or_default()
    }
}

/// Appends the decimal digits of a number.
pub(crate) fn push(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(Digits::new(number).as_bytes());
}

/// The ASCII digit of a number below ten.
pub(crate) fn of(number: u64) -> u8 {
    b'0' + u8::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        for number in [0, 1, 9, 10, 100, 12_345, u64::MAX] {
            let mut out = b"n".to_vec();
            super::push(number, &mut out);
            assert_eq!(out, format!("n{number}").into_bytes());
        }
    }
}
