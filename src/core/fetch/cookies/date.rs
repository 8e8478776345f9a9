//! The dates of `Expires`, read as leniently as RFC 6265 §5.1.1 says and not more.

/// Months by their first three letters.
const MONTHS: [&[u8]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// Seconds since 1970, or `None` for what is no date.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|&byte| is_delimiter(byte)).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = clock(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2, 4)
        {
            year = Some(found);
        }
    }
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 0..=69 => short + 2000,
        short @ 70..=99 => short + 1900,
        year => year,
    };
    if year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// `h:m:s`, one or two digits each; anything may follow behind a character that is no digit.
fn clock(token: &[u8]) -> Option<(i64, i64, i64)> {
    let mut fields = token.splitn(3, |&byte| byte == b':');
    let whole = |field: &[u8]| field.iter().all(u8::is_ascii_digit).then(|| number(field, 1, 2))?;
    let (hour, minute) = (whole(fields.next()?)?, whole(fields.next()?)?);
    Some((hour, minute, number(fields.next()?, 1, 2)?))
}

/// A number of `least` to `most` digits; anything may follow behind a character that is none.
fn number(token: &[u8], least: usize, most: usize) -> Option<i64> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit());
    let (count, number) = digits
        .take(most + 1)
        .fold((0, 0), |(count, number), digit| (count + 1, number * 10 + i64::from(digit - b'0')));
    (least..=most).contains(&count).then_some(number)
}

/// January is 1.
fn month_of(token: &[u8]) -> Option<i64> {
    let head = token.get(..3)?;
    (1..).zip(MONTHS).find(|(_, month)| head.eq_ignore_ascii_case(month)).map(|(count, _)| count)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `days_from_civil` of Howard Hinnant, <https://howardhinnant.github.io/date_algorithms.html>:
/// years begin in March, so that the leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
