import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import software.amazon.event.ruler.GenericMachine;

/**
 * What Event Ruler says of groups of rules and events.
 *
 * <p>Reads JSON lines of {@code {"rules": [text, …], "events": [text, …]}} and answers each with a line of
 * {@code {"refused": [null or message, …], "alone": [[rule, …], …], "together": [[rule, …], …]}}: for every rule
 * why it cannot be added; for every event the positions of the rules that match it, each rule in a machine of its
 * own, and all rules in one machine. {@code null} stands for an event that Event Ruler cannot read.
 */
public final class Verdicts {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Verdicts() { }

    public static void main(final String[] args) throws Exception {
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
        }
    }

    private static ObjectNode answer(final JsonNode group) {
        final ObjectNode answer = JSON.createObjectNode();
        final ArrayNode refused = answer.putArray("refused");
        final List<GenericMachine<Integer>> machines = new ArrayList<>();
        final GenericMachine<Integer> all = machine();
        for (final JsonNode rule : group.get("rules")) {
            final int position = machines.size();
            final GenericMachine<Integer> own = machine();
            try {
                own.addRule(position, rule.asText());
                all.addRule(position, rule.asText());
                refused.addNull();
            } catch (final Exception e) {
                refused.add(String.valueOf(e.getMessage()).lines().findFirst().orElse(""));
            }
            machines.add(own);
        }
        final ArrayNode alone = answer.putArray("alone");
        final ArrayNode together = answer.putArray("together");
        for (final JsonNode event : group.get("events")) {
            add(alone, machines, event.asText());
            add(together, List.of(all), event.asText());
        }
        return answer;
    }

    private static GenericMachine<Integer> machine() {
        return GenericMachine.<Integer>builder().build();
    }

    private static void add(final ArrayNode out, final List<GenericMachine<Integer>> machines, final String event) {
        final TreeSet<Integer> matched = new TreeSet<>();
        try {
            for (final GenericMachine<Integer> machine : machines) {
                matched.addAll(machine.rulesForJSONEvent(event));
            }
        } catch (final Exception e) {
            out.addNull();
            return;
        }
        final ArrayNode list = out.addArray();
        matched.forEach(list::add);
    }
}
