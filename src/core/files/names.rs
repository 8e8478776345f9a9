//! Many names in little memory: one allocation for all, where the system's names are bytes.
//!
//! A folder of a tree has tens of names of ten bytes each; with an allocation for each name,
//! allocating and freeing took a fifth of the time of listing them.

#[cfg(unix)]
pub use joined::Names;
#[cfg(not(unix))]
pub use single::Names;

#[cfg(unix)]
mod joined {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    /// Names in the order in which they came.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Names {
        bytes: Vec<u8>,
        /// Where each name ends in `bytes`.
        ends: Vec<usize>,
    }

    impl Names {
        pub(crate) fn push(&mut self, name: &OsStr) {
            self.bytes.extend_from_slice(name.as_bytes());
            self.ends.push(self.bytes.len());
        }

        /// How many there are.
        #[must_use]
        pub fn len(&self) -> usize {
            self.ends.len()
        }

        /// Whether there are none.
        #[must_use]
        pub fn is_empty(&self) -> bool {
            self.ends.is_empty()
        }

        /// One after the other.
        #[must_use]
        pub fn iter(&self) -> impl ExactSizeIterator<Item = &OsStr> {
            let mut begin = 0;
            self.ends.iter().map(move |end| {
                let name = self.bytes.get(begin..*end).unwrap_or_default();
                begin = *end;
                OsStr::from_bytes(name)
            })
        }
    }
}

/// The same where names are no bytes. Untested: no such machine was at hand.
#[cfg(not(unix))]
mod single {
    use std::ffi::{OsStr, OsString};

    /// Names in the order in which they came.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Names(Vec<OsString>);

    impl Names {
        pub(crate) fn push(&mut self, name: &OsStr) {
            self.0.push(name.to_owned());
        }

        /// How many there are.
        #[must_use]
        pub fn len(&self) -> usize {
            self.0.len()
        }

        /// Whether there are none.
        #[must_use]
        pub fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        /// One after the other.
        #[must_use]
        pub fn iter(&self) -> impl ExactSizeIterator<Item = &OsStr> {
            self.0.iter().map(OsString::as_os_str)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::Names;

    #[test]
    fn names_come_back_as_they_were_in_their_order() {
        let mut names = Names::default();
        assert!(names.is_empty());
        for name in ["one", "", "zwölf", "one"] {
            names.push(OsStr::new(name));
        }
        assert_eq!(names.len(), 4);
        let back: Vec<&OsStr> = names.iter().collect();
        assert_eq!(back, ["one", "", "zwölf", "one"]);
    }
}
