//! Another address of the same endpoint for an attempt whose connection cannot be made.

use super::course::Course;
use super::snapshot::EndpointAt;
use super::trail::UnderWay;
use crate::cluster::Instant;

impl Course {
    /// Where else the connection of an attempt may be made, in this order, if it cannot be made where the attempt goes: other
    /// addresses of the same endpoint.
    #[must_use]
    pub fn alternatives(&self, number: u32, now: Instant) -> Vec<EndpointAt> {
        let found = self.under_way.iter().find(|each| each.number == number);
        let Some((cluster, each)) = self.cluster().zip(found) else { return Vec::new() };
        let places = cluster.group.alternatives(each.attempt.place(), &self.tried, now);
        places.into_iter().map(|place| EndpointAt::new(cluster.position, place)).collect()
    }

    /// Reports at which addresses of the endpoint no connection was made for an attempt, and at which one it was `made`, if at
    /// any. None of that counts as another attempt. Returns where the attempt goes now.
    pub fn moved(
        &mut self,
        number: u32,
        made: Option<&str>,
        refused: &[&str],
        now: Instant,
    ) -> Option<EndpointAt> {
        let (cluster, each) = self.take(number)?;
        let attempt = cluster.group.moved(each.attempt, made, refused, &mut self.tried, now);
        let at = EndpointAt::new(cluster.position, attempt.place());
        self.under_way.push(UnderWay::new(number, at, attempt, each.since));
        Some(at)
    }
}
