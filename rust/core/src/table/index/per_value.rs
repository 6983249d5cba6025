//! Finds the conditions that are compared with each value of a field, so that the work for a message is the number of the
//! conditions times the number of the values. All others are looked up.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::predicates::Predicates;
use super::program::{Node, Nodes, Program};
use super::tree::{Below, Index};
use crate::pattern::{Predicate, format_keys};
use crate::table::cost::Linear;
use crate::table::ids::{FieldId, PredicateId};
use crate::table::message::fields::Fields;
use crate::table::message::view::EACH;

type Ids = HashSet<PredicateId, RandomState>;

impl Index {
    /// Groups of rules whose conditions are compared with each value of one field, if there are more conditions than the
    /// budget of a message has steps for each value. `may_have_many` says whether the field at a path can have many values.
    pub(crate) fn per_value(
        &self,
        program: &Program,
        predicates: &Predicates,
        fields: &Fields,
        may_have_many: &impl Fn(&[Box<str>]) -> bool,
    ) -> Vec<Linear> {
        let at_root = predicates.ids().filter(|id| predicates.below(*id) != Below::NOTHING);
        let all: Ids = at_root.chain(self.guards()).collect();
        let guards = self.shared(&all, program, predicates);
        let mut compared: HashMap<FieldId, (Ids, Vec<usize>), RandomState> = HashMap::default();
        for rank in 0..program.len() {
            let rule = program.rule(rank);
            let mut ids = Vec::new();
            tests(rule.nodes, &mut |id| ids.push(id));
            let key = |id: PredicateId| fields.path(predicates.field(id)).first();
            // Guards by which a message finds few rules, or few elements of an array.
            let narrow = |id: &&PredicateId| guards.get(*id).is_some_and(|rules| *rules as u64 <= EACH);
            let narrowing: Vec<PredicateId> = ids.iter().filter(narrow).copied().collect();
            for &id in &ids {
                let is_compared = match predicates.other(id) {
                    None | Some(Predicate::Exists(_) | Predicate::Equals(_)) => false,
                    // A guard that is a range is found by the place of each value among all bounds; but not where it holds.
                    Some(Predicate::Numeric(_)) => !rule.is_apart || !all.contains(&id),
                    Some(_) => !guards.contains_key(&id),
                };
                let is_narrowed = || {
                    narrowing.iter().any(|guard| {
                        key(*guard) == key(id) || !may_have_many(fields.path(predicates.field(*guard)))
                    })
                };
                if is_compared && !is_narrowed() {
                    let (ids, ranks) = compared.entry(predicates.field(id)).or_default();
                    ids.insert(id);
                    if ranks.last() != Some(&rank) {
                        ranks.push(rank);
                    }
                }
            }
        }
        let too_many = compared
            .into_iter()
            .filter(|(field, (ids, _))| ids.len() as u64 > EACH && may_have_many(fields.path(*field)));
        let group = |(field, (_, rules)): (FieldId, (_, Vec<usize>))| Linear {
            when: format!("each value of {}", format_keys(fields.path(field))),
            rules,
        };
        let mut out: Vec<Linear> = too_many.map(group).collect();
        out.sort_by(|a, b| b.rules.len().cmp(&a.rules.len()).then_with(|| a.when.cmp(&b.when)));
        out
    }
}

impl Index {
    /// Of all guards, those that one look-up finds together with the elements where they hold, and the number of rules that
    /// have each.
    fn shared(
        &self,
        all: &Ids,
        program: &Program,
        predicates: &Predicates,
    ) -> HashMap<PredicateId, usize, RandomState> {
        let tried: Ids = self.tried().collect();
        let is_range = |id: PredicateId| matches!(predicates.other(id), Some(Predicate::Numeric(_)));
        let found = all.iter().filter(|id| !tried.contains(*id) && !is_range(**id));
        let mut guards: HashMap<PredicateId, usize, RandomState> = found.map(|id| (*id, 0)).collect();
        for rank in 0..program.len() {
            tests(program.rule(rank).nodes, &mut |id| {
                if let Some(rules) = guards.get_mut(&id) {
                    *rules += 1;
                }
            });
        }
        guards
    }
}

/// Calls `found` for each predicate of some nodes.
fn tests(nodes: Nodes<'_>, found: &mut impl FnMut(PredicateId)) {
    for node in nodes {
        match node {
            Node::Test(test) => test.iter().for_each(|id| found(*id)),
            Node::All(inside) | Node::Any(inside) => tests(inside, found),
        }
    }
}
