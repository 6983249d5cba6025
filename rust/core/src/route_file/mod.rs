//! The routes of one large file, read without an object for each part of them.
//!
//! Most routes of a large configuration are *plain*: they consist of a name, a pattern, clusters and a precedence, without
//! references to the environment. A plain route is read into a [`RouteSpec`] at once. Of any other route, and of a wrong one,
//! only the place is kept: whoever loads the configuration reads it from there, with all checks. A file that is not read
//! (`None`) may still be valid; it has something that only the complete reader knows.

mod lines;
mod plain;
mod tree;
mod yaml;

use hashbrown::HashSet;

use crate::table::RouteSpec;

/// The routes of one file, in the order written.
#[derive(Debug, Default)]
pub struct RouteFile {
    /// The text of the file.
    text: Box<str>,
    routes: Vec<Written>,
}

/// One route as written.
#[derive(Debug)]
struct Written {
    place: Place,
    /// The route, if it is plain.
    spec: Option<RouteSpec>,
}

/// The place of a route in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 0.
    pub line: u32,
    /// Column in characters, from 0.
    pub column: u32,
    /// Offset of the first byte.
    start: u32,
    /// Offset behind the last byte.
    end: u32,
}

impl RouteFile {
    /// Reads a YAML file. The second text is the file with an empty list of routes, in which everything else has its place.
    #[must_use]
    pub fn yaml(text: &str) -> Option<(Self, String)> {
        yaml::read(text)
    }

    /// Reads a file of JSON lines, one route in each line that is not blank.
    #[must_use]
    pub fn lines(text: &str) -> Option<Self> {
        lines::read(text)
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The positions of the routes that are not plain.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        self.routes.iter().enumerate().filter(|(_, route)| route.spec.is_none()).map(|(at, _)| at)
    }

    /// The plain route at a position.
    #[must_use]
    pub fn spec(&self, at: usize) -> Option<&RouteSpec> {
        self.routes.get(at)?.spec.as_ref()
    }

    /// The plain routes, in order.
    pub fn specs(&self) -> impl Iterator<Item = &RouteSpec> {
        self.routes.iter().filter_map(|route| route.spec.as_ref())
    }

    /// The place of a route and its text.
    #[must_use]
    pub fn written(&self, at: usize) -> Option<(Place, &str)> {
        let place = self.routes.get(at)?.place;
        Some((place, self.text.get(place.start as usize..place.end as usize)?))
    }

    /// The clusters that plain routes name, each once.
    #[must_use]
    pub fn clusters(&self) -> Vec<&str> {
        let mut seen: HashSet<&str> = HashSet::new();
        let named = self.specs().flat_map(|spec| spec.to.iter().chain(&spec.fallback));
        named.map(String::as_str).filter(|name| seen.insert(name)).collect()
    }
}

/// Whether no two plain routes of some files, and none of `others`, have the same name.
#[must_use]
pub fn names_differ<'n>(files: &[&'n RouteFile], others: impl IntoIterator<Item = &'n str>) -> bool {
    let mut seen: HashSet<&str> = HashSet::with_capacity(files.iter().map(|file| file.len()).sum());
    let plain = files.iter().flat_map(|file| file.specs()).map(|spec| spec.name.as_str());
    plain.chain(others).all(|name| seen.insert(name))
}

#[cfg(test)]
mod tests;
