@phase11 @drill @chaos @compute
Feature: A node or a guest fails, and each guest comes back, once
  Nodes and guests are made to fail, while each golden guest is asked several times a second whether it lives, every node is
  watched for what it runs, and the storage is asked who holds the guests' disks. Victims are drawn by the run's seed among
  the nodes that run guests. Whether the lost node led high availability is recorded, for it costs a minute more.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the storage cluster is built and whole
    And high availability is ready
    And guests are kept running that count, and each count is heard

  @criterion-4
  Scenario: A node loses its power
    When a node that runs guests loses its power
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And it is confirmed off, not before its watchdog must have bitten, and then switched on
    And everything is whole again
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A node's kernel crashes
    When the kernel of a node that runs guests crashes
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And it starts anew without our help
    And whatever was switched off is confirmed, and was not switched off too soon
    And everything is whole again
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A node's kernel hangs until its watchdog bites
    When the kernel of a node that runs guests stands still
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And it starts anew by its watchdog
    And whatever was switched off is confirmed, and was not switched off too soon
    And everything is whole again
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: One node no longer hears the two others
    When a node that runs guests no longer hears the others
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And it starts anew without our help
    And whatever was switched off is confirmed, and was not switched off too soon
    And everything is whole again
    And no guest ran twice and no count went back

  Scenario: No node hears any other
    When no node hears any other
    Then every node that ran guests starts anew without our help
    And everything is whole again
    And all guests answer again
    And none of its guests began elsewhere before it was dead
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A node loses its power and its management controller is out of reach
    When a node that runs guests loses its power and nobody reaches its management controller
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And nobody claims to have switched it off, and the operator is told why
    And everything is whole again
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A node loses its power and its management controller refuses the password
    When a node that runs guests loses its power and its management controller refuses the password
    Then its guests answer again within 3 minutes
    And each step until then stands beside what was predicted
    And none of its guests began elsewhere before it was dead
    And nobody claims to have switched it off, and the operator is told why
    And everything is whole again
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A guest crashes
    When a guest is killed
    Then it answers again within 2 minutes
    And no node is fenced
    And everything is whole again
    And no guest ran twice and no count went back

  Scenario: A guest lives and its service is dead
    When the service of a guest dies while the guest lives
    Then its silence is heard, and high availability leaves it alone
    And no node is fenced
    And everything is whole again
    And it counts on where it was
    And no guest ran twice and no count went back

  @criterion-4
  Scenario: A node is taken out for maintenance
    When a node that runs guests is taken out for maintenance
    Then its guests answer from other nodes within 2 minutes
    And no node is fenced
    And everything is whole again
    And no guest ran twice and no count went back

  Scenario: Two nodes of three are lost
    When two nodes lose their power, one of which runs guests
    Then nothing is started on the node that is left
    And once one of them is back, their guests answer again
    And everything is whole again
    And no guest ran twice and no count went back
