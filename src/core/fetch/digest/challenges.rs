//! The grammar of challenges (RFC 9110 §11.6.1), read with an eye on what servers send.
//!
//! One header line may hold several challenges, and the comma that separates them is the one that
//! separates their parameters: only what follows a word tells whether it names a scheme or a
//! parameter. Lines are read each on its own, so that a quote left open in one cannot swallow the
//! next. Lenient about commas that are missing, spaces around `=`, and unquoted values with
//! characters that no token has; a challenge with a parameter twice, or with an open quote, is
//! dropped. Takes linear time, and nothing in a line can make it fail.

/// The parameters of digest; others are read over, so that they cost nothing.
const KNOWN: [&str; 8] =
    ["realm", "nonce", "opaque", "algorithm", "qop", "stale", "charset", "userhash"];

/// A challenge of the scheme Digest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    parameters: Vec<(&'static str, Vec<u8>)>,
    ambiguous: bool,
}

impl Offer {
    /// What the parameter says, without quotes.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_slice())
    }

    fn add(&mut self, name: &[u8], value: Vec<u8>) {
        let known = KNOWN.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(known) = known {
            self.ambiguous |= self.get(known).is_some();
            self.parameters.push((known, value));
        }
    }
}

/// The challenges of the scheme Digest in one line, in their order.
pub(super) fn offers(line: &[u8]) -> Vec<Offer> {
    let mut cursor = Cursor(line);
    let mut offers = Vec::new();
    // The challenge whose parameters come next, unless it is of another scheme.
    let mut current: Option<Offer> = None;
    loop {
        cursor.take(|byte| is_space(byte) || byte == b',');
        let word = cursor.take(is_token);
        if word.is_empty() {
            if cursor.0.is_empty() {
                offers.extend(current);
            }
            break;
        }
        let apart = !cursor.take(is_space).is_empty();
        if cursor.eat(b'=') {
            cursor.take(is_space);
            let Some(value) = cursor.value() else { break };
            if let Some(offer) = &mut current {
                offer.add(word, value);
            }
        } else {
            let digest = word.eq_ignore_ascii_case(b"Digest");
            offers.extend(std::mem::replace(&mut current, digest.then(Offer::default)));
            if apart {
                cursor.skip_token68();
            }
        }
    }
    offers.retain(|offer| !offer.ambiguous);
    offers
}

/// What is left of a line.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes bytes for as long as `wanted` says so.
    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| !wanted(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn eat(&mut self, wanted: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// A value, quoted or not; `None` if its quote is never closed.
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.eat(b'"') {
            return Some(
                self.take(|byte| !is_space(byte) && !matches!(byte, b',' | b'"')).to_vec(),
            );
        }
        let mut value = Vec::new();
        loop {
            let (&first, rest) = self.0.split_first()?;
            self.0 = rest;
            match first {
                b'"' => return Some(value),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    value.push(escaped);
                }
                other => value.push(other),
            }
        }
    }

    /// Skips the single word that some schemes have in place of parameters. It goes up to a comma
    /// or the end; whatever does not is left for somebody else to read.
    fn skip_token68(&mut self) {
        let mut ahead = Cursor(self.0);
        ahead.take(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        ahead.take(|byte| byte == b'=');
        ahead.take(is_space);
        if matches!(ahead.0.first(), None | Some(b',')) {
            self.0 = ahead.0;
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and value of each parameter of each challenge.
    fn read(line: &str) -> Vec<Vec<String>> {
        let shown =
            |(name, value): &(&str, Vec<u8>)| format!("{name}={}", String::from_utf8_lossy(value));
        let offers = offers(line.as_bytes());
        offers.iter().map(|offer| offer.parameters.iter().map(shown).collect()).collect()
    }

    #[test]
    fn a_line_holds_challenges_of_several_schemes() {
        let line = r#"Newauth realm="apps", type=1, title="Login to \"apps\", Digest x=", Basic realm="simple", Digest realm="r", nonce=n,, NTLM TlRM/+==, DIGEST realm="s""#;
        assert_eq!(read(line), [vec!["realm=r", "nonce=n"], vec!["realm=s"]]);
    }

    #[test]
    fn a_comma_more_or_less_changes_nothing() {
        for line in [
            r#"Digest realm="r", nonce="n""#,
            r#"Basic,Digest realm="r",nonce="n""#,
            r#", ,Digest  realm = "r" ,, nonce	=	"n" , "#,
            r#"Digest realm="r" nonce="n" Basic realm="x""#,
            r#"Negotiate Digest realm="r", nonce="n", Negotiate"#,
            r#"Digest unknown="x", REALM="r", unknown="y", Nonce="n""#,
            r#"realm="lost", Digest realm="r", nonce="n""#,
        ] {
            assert_eq!(read(line), [["realm=r", "nonce=n"]], "{line}");
        }
    }

    #[test]
    fn escapes_are_undone_and_unquoted_values_are_taken_as_they_are() {
        let line = r#"Digest realm="a\"b\\c\d, Basic", nonce=ab/+=="#;
        assert_eq!(read(line), [[r#"realm=a"b\cd, Basic"#, "nonce=ab/+=="]]);
        assert_eq!(read("Digest realm=, nonce="), [["nonce="]]);
    }

    #[test]
    fn what_cannot_be_understood_is_dropped_alone() {
        assert_eq!(read(r#"Digest realm="r", nonce="n", realm="s""#), Vec::<Vec<String>>::new());
        for broken in
            [r#"Digest nonce="open"#, r#"Digest nonce="open\"#, "Digest nonce=a\"b", "Digest @"]
        {
            let line = format!(r#"Digest realm="r", {broken}"#);
            assert_eq!(read(&line), [["realm=r"]], "{line}");
        }
    }

    #[test]
    fn no_line_is_too_odd() {
        let alphabet = b"Digest ,=\"\\\trealm\xff\x00n;@";
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let mut line = b"Digest realm=".to_vec();
            for _ in 0..24 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                line.push(alphabet[(state >> 16) as usize % alphabet.len()]);
            }
            offers(&line);
        }
        for part in ["Digest ", "a=,", "realm=x,", "\"", "\\", "Digest a ", ",", "="] {
            offers(part.repeat(65_536 / part.len()).as_bytes());
        }
    }
}
